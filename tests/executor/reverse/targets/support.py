"""What the tests of targets have in common: calls, and who makes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import pytest

from executor.reverse.call import CallFailedError, CallTarget, ReverseCall

__all__ = ["REQUESTS", "collect", "failure_of", "make_call", "take"]

MODEL: Final = {"provider": "langgenius/openai/openai", "model": "gpt-4o"}
LLM: Final = {
    **MODEL,
    "model_type": "llm",
    "mode": "chat",
    "completion_params": {"temperature": 0.5},
    "prompt_messages": [{"role": "user", "content": "one two", "name": None, "opaque_body": None}],
    "tools": None,
    "stop": None,
    "stream": True,
}
NODE: Final = {
    "model": {"provider": "p", "name": "m", "mode": "chat", "completion_params": {}},
    "query": "which one?",
    "instruction": "",
}

REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "app": {
        "app_id": "chat-app",
        "query": "hello there",
        "inputs": {},
        "response_mode": "streaming",
        "conversation_id": None,
        "user": None,
    },
    "fetch_app": {"app_id": "chat-app"},
    "llm": LLM,
    "llm_structured_output": {
        **LLM,
        "structured_output_schema": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
    "system_summary": {"text": "a long text" * 100, "instruction": "be brief"},
    "text_embedding": {**MODEL, "model_type": "text-embedding", "texts": ["a", "bb"], "input_type": "query"},
    "multimodal_embedding": {
        **MODEL,
        "documents": [{"content": "a", "content_type": "text"}],
        "input_type": "document",
    },
    "rerank": {**MODEL, "docs": ["a long one", "short"], "query": "q", "score_threshold": 0.0, "top_n": 2},
    "multimodal_rerank": {
        **MODEL,
        "docs": [{"content": "a", "content_type": "text"}],
        "query": {"content": "q", "content_type": "text"},
        "score_threshold": 0.0,
        "top_n": 1,
    },
    "tts": {**MODEL, "voice": "alloy", "content_text": "Hello there"},
    "speech2text": {**MODEL, "file": b"spoken"},
    "moderation": {**MODEL, "text": "something bad"},
    "tool": {"tool_type": "builtin", "provider": "time", "tool": "now", "tool_parameters": {"zone": "UTC"}},
    "node_parameter_extractor": {**NODE, "parameters": [{"name": "city", "type": "string", "required": True}]},
    "node_question_classifier": {**NODE, "classes": [{"id": "1", "name": "first"}, {"id": "2", "name": "second"}]},
    "upload_file": {"filename": "cat.png", "mimetype": "image/png", "content": b"\x89PNG and so on"},
}
"""A request of each kind, as the SDK makes it."""


def make_call(kind: str, request: dict[str, Any] | None = None, **changes: Any) -> ReverseCall:
    """Make a call, with the request of its kind unless another one is given."""
    fields = {
        "tenant_id": "tenant-1",
        "plugin_id": "author/plugin",
        "hook_id": "hook",
        "invocation_id": "01970000-0000-7000-8000-000000000000",
        "user_id": "caller-1",
        "session_id": "session-1",
    }
    return ReverseCall(kind=kind, request=REQUESTS[kind] if request is None else request, **{**fields, **changes})


async def collect(target: CallTarget, call: ReverseCall) -> list[Any]:
    """Take the whole answer."""
    return [data async for data in target.call(call)]


async def failure_of(target: CallTarget, call: ReverseCall) -> CallFailedError:
    """Make a call that fails."""
    with pytest.raises(CallFailedError) as caught:
        await collect(target, call)
    return caught.value


async def take(answers: AsyncIterator[object], count: int) -> list[Any]:
    """Take the beginning of an answer, and close it, as whoever is cancelled does."""
    taken = []
    async with aclosing(answers) as closing:  # type: ignore[type-var]  # targets are generators
        async for data in closing:
            taken.append(data)
            if len(taken) == count:
                break
    return taken

"""A text, put into the form in which Dify answers each kind of call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from executor.reverse.call import ReverseCall

__all__ = ["TEXT_KINDS", "shape_text"]

WORD: Final = re.compile(r"\s*\S+|\s+$")
Item = dict[str, object]


def shape_text(call: ReverseCall, text: str) -> Iterator[Item]:
    """Return the items that say a text."""
    return _SHAPES[call.kind](call, text)


def _shape_app(call: ReverseCall, text: str) -> Iterator[Item]:
    request = call.request
    ids = {"task_id": f"task-{call.invocation_id}", "message_id": f"message-{call.invocation_id}"}
    is_chat = request.get("query") is not None
    conversation = {"conversation_id": request.get("conversation_id") or f"conversation-{call.invocation_id}"}
    run: Item = {"workflow_run_id": ids["task_id"], "task_id": ids["task_id"]}
    data: Item = {"status": "succeeded", "outputs": {"text": text}, "error": None}
    if request.get("response_mode") != "streaming":
        answer: Item = {"event": "message", **ids, **conversation, "answer": text, "metadata": {"usage": _USAGE}}
        yield answer if is_chat else {**run, "data": data}
    elif is_chat:
        for word in _words(text):
            yield {"event": "message", **ids, **conversation, "answer": word}
        yield {"event": "message_end", **ids, **conversation, "metadata": {"usage": _USAGE}}
    else:
        yield {"event": "workflow_started", **run, "data": {}}
        yield {"event": "workflow_finished", **run, "data": data}


def _shape_llm(call: ReverseCall, text: str) -> Iterator[Item]:
    model = call.request.get("model")
    index = 0
    for index, word in enumerate(_words(text)):
        yield _chunk(model, index, word)
    yield _chunk(model, index + 1, "", usage=_USAGE, finish_reason="stop")


def _chunk(model: object, index: int, content: str, **end: object) -> Item:
    message = {"role": "assistant", "content": content, "name": "", "tool_calls": []}
    delta = {"index": index, "message": message, "usage": None, "finish_reason": None, **end}
    return {"model": model, "prompt_messages": [], "system_fingerprint": "fixtures", "delta": delta}


def _shape_tool(_call: ReverseCall, text: str) -> Iterator[Item]:
    yield {"type": "text", "message": {"text": text}, "meta": {}}


def _shape_summary(_call: ReverseCall, text: str) -> Iterator[Item]:
    yield {"summary": text}


def _shape_speech2text(_call: ReverseCall, text: str) -> Iterator[Item]:
    yield {"result": text}


_SHAPES: Final[Mapping[str, Callable[[ReverseCall, str], Iterator[Item]]]] = {
    "app": _shape_app,
    "llm": _shape_llm,
    "speech2text": _shape_speech2text,
    "system_summary": _shape_summary,
    "tool": _shape_tool,
}
TEXT_KINDS: Final = tuple(_SHAPES)
"""Kinds of calls whose answer can be a text."""

_USAGE: Final[Item] = {
    **dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0),
    **dict.fromkeys(("prompt_unit_price", "prompt_price_unit", "prompt_price"), "0"),
    **dict.fromkeys(("completion_unit_price", "completion_price_unit", "completion_price", "total_price"), "0"),
    "currency": "USD",
    "latency": 0.0,
}


def _words(text: str) -> list[str]:
    return WORD.findall(text)

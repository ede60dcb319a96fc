"""Chats with apps of Dify's that a language model stands in for: events as Dify's Service API has them."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

from executor.config.reverse_targets import OpenAiApp
from executor.reverse.call import CallFailedError
from executor.reverse.targets.failures import BAD_REQUEST

__all__ = ["app_events", "app_question"]

_INPUT: Final = re.compile(r"\{\{ *(\w+) *\}\}")


def app_question(app: OpenAiApp, request: Mapping[str, object]) -> list[dict[str, str]]:
    """Make the messages that ask the model.

    Raises:
        CallFailedError: There is no question.
    """
    query, inputs = request.get("query"), request.get("inputs")
    if not isinstance(query, str) or not query:
        raise CallFailedError("only chats are answered here, and this call has no `query`", BAD_REQUEST)
    values = inputs if isinstance(inputs, dict) else {}
    instructions = _INPUT.sub(lambda found: _text(values.get(found[1]), found[0]), app.instructions)
    told = [{"role": "system", "content": instructions}] if instructions else []
    return [*told, {"role": "user", "content": query}]


def _text(value: object, otherwise: str) -> str:
    """Write an input; one that is not there, or cannot be written, is left as it stands in the instructions."""
    return str(value) if isinstance(value, str | int | float) else otherwise


async def app_events(
    request: Mapping[str, object], parts: AsyncGenerator[dict[str, Any], None], *, streaming: bool
) -> AsyncGenerator[object, None]:
    """Make events of the parts of an answer: `message` for each and `message_end`, or all of it in one."""
    conversation = request.get("conversation_id")
    message = str(uuid.uuid4())
    ids = {
        "task_id": str(uuid.uuid4()),
        "id": message,
        "message_id": message,
        "conversation_id": conversation if isinstance(conversation, str) and conversation else str(uuid.uuid4()),
        "created_at": int(time.time()),
    }
    metadata: dict[str, object] = {"usage": None, "retriever_resources": []}
    texts: list[str] = []
    async with aclosing(parts):
        async for part in parts:
            delta = part["delta"]
            text = delta["message"]["content"]
            metadata["usage"] = delta["usage"] or metadata["usage"]
            texts.append(text)
            if streaming and text:
                yield {"event": "message", **ids, "answer": text}
    if streaming:
        yield {"event": "message_end", **ids, "metadata": metadata, "files": []}
    else:
        yield {"event": "message", **ids, "mode": "chat", "answer": "".join(texts), "metadata": metadata}

"""Whole answers to a daemon."""

from __future__ import annotations

import json
from typing import Final

from executor.http.answers import Answer, send_answer
from executor.http.asgi import Send

__all__ = ["json_answer", "refuse", "send_lines"]

JSON: Final = (b"content-type", b"application/json")


def json_answer(document: object, status: int = 200) -> Answer:
    """Make an answer of JSON."""
    return Answer(status, json.dumps(document).encode() + b"\n", [JSON])


async def refuse(send: Send, status: int, error_type: str, message: str) -> None:
    """Refuse a call of a function, in the form that the daemon takes the reason from.

    Source: langgenius/dify-plugin-daemon bdb5642a, `buildServerlessRuntimeError`.
    """
    answer = json_answer({"errorType": error_type, "errorMessage": message}, status)
    if status in {429, 503}:
        answer.headers.append((b"retry-after", b"1"))
    await send_answer(send, answer)


async def send_lines(send: Send, *lines: bytes) -> None:
    """Answer a call of a function with lines that are all there."""
    await send_answer(send, Answer(200, b"".join(lines), [(b"content-type", b"text/event-stream")]))

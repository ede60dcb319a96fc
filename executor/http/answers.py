"""Answers of our own making: problem documents (RFC 9457) for every outcome that is not an endpoint's answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from executor.http.asgi import Send
from executor.outcome import Outcome

__all__ = ["Answer", "plain", "problem", "problem_for", "send_answer"]

RETRY_AFTER_S: Final = b"1"
"""A busy executor frees workers within the second; a client that waits one does not pile up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response: status, headers and body."""

    status: int
    body: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def problem(status: int, code: str, title: str, *, detail: str = "", **members: object) -> Answer:
    """Build a problem document.

    Args:
        status: HTTP status, repeated in the document.
        code: Stable dotted name; also the last part of `type`.
        title: One sentence, the same for every occurrence of the code.
        detail: What happened this time.
        members: Further members of the document; those that are empty are left out.
    """
    document: dict[str, object] = {
        "type": f"urn:endpoint-executor:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
    }
    if detail:
        document["detail"] = detail
    document.update({name: value for name, value in members.items() if value})
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    return Answer(status, body, [(b"content-type", b"application/problem+json")])


def problem_for(outcome: Outcome, *, detail: str = "", **members: object) -> Answer:
    """Build the problem document that an outcome stands for."""
    answer = problem(outcome.status, outcome.code, outcome.title, detail=detail, **members)
    if outcome.retryable:
        answer.headers.append((b"retry-after", RETRY_AFTER_S))
    return answer


def plain(status: int, text: str = "") -> Answer:
    """Build a text/plain answer; without a text, the status's own phrase."""
    body = (text or HTTPStatus(status).phrase).encode("utf-8", "backslashreplace")
    return Answer(status, body, [(b"content-type", b"text/plain; charset=utf-8")])


async def send_answer(
    send: Send, answer: Answer, extra_headers: Sequence[tuple[bytes, bytes]] = (), *, head: bool = False
) -> None:
    """Send a whole answer; for a HEAD request without its body."""
    length = (b"content-length", b"%d" % len(answer.body))
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [*answer.headers, length, *extra_headers],
        }
    )
    await send({"type": "http.response.body", "body": b"" if head else answer.body, "more_body": False})

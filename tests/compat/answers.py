"""Answers of the two sides, and how they are compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Answer", "Call", "differences"]

SPREAD_S: Final = 0.2
"""An answer whose pieces come over a longer time than this is streamed."""

ERROR: Final = 500
OURS: Final = frozenset({"date", "x-invocation-id", "content-length", "transfer-encoding", "connection", "server"})
"""Headers of a connection, or of our service."""

_CHANGING: Final = (
    (re.compile(rb"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"), b"UUID"),
    (re.compile(rb'"created": ?\d+'), b'"created": 0'),
    (re.compile(rb"<CreateTime>\d+</CreateTime>"), b"<CreateTime>0</CreateTime>"),
    (re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?"), b"TIME"),
)
"""What differs from one answer to the next of the same plugin."""

_LONGEST: Final = 300


@dataclass(frozen=True)
class Call:
    """A reverse call: its kind, and what was asked."""

    kind: str
    request: dict[str, Any]


@dataclass
class Answer:
    """What a client has seen.

    Attributes:
        status: Of HTTP; 0 when there was no answer.
        headers: Names in lower case.
        body: Of the whole answer, or of its first piece.
        times: When its pieces came, in seconds from the request.
        calls: What was asked of Dify meanwhile.
        problem: Why there is no answer.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    times: list[float] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    problem: str = ""

    @property
    def spread_s(self) -> float:
        """From the first piece to the last."""
        return self.times[-1] - self.times[0] if self.times else 0.0


FAILED: Final = b"Internal Server Error: "
"""How the SDK tells clients of an exception. We keep that to ourselves, by design (docs/behaviour.md)."""


def differences(reference: Answer, ours: Answer, *, body: bool = True) -> Iterator[str]:
    """Tell how an answer of ours differs from that of the SDK.

    Args:
        reference: What the SDK's own server has answered.
        ours: What our service has answered.
        body: Whether body and headers are compared, too.
    """
    if reference.problem or ours.problem:
        if bool(reference.problem) != bool(ours.problem):
            yield f"SDK: {reference.problem or reference.status}; here: {ours.problem or ours.status}"
        return
    if reference.status != ours.status:
        yield f"status {reference.status}, here {ours.status}: {_show(ours.body)}"
    if body and not (reference.status == ours.status == ERROR and reference.body.startswith(FAILED)):
        yield from _headers(reference, ours)
        wanted, got = _settle(reference.body), _settle(ours.body)
        if wanted != got:
            yield f"body {_show(wanted)}, here {_show(got)}"
        if reference.spread_s > SPREAD_S and ours.spread_s < reference.spread_s / 2:
            yield f"streamed over {reference.spread_s:.2f} s, here {ours.spread_s:.2f} s"
    wanted_calls, got_calls = (list(map(_call_text, one.calls)) for one in (reference, ours))
    if wanted_calls != got_calls:
        yield f"calls {wanted_calls}, here {got_calls}"


def _headers(reference: Answer, ours: Answer) -> Iterator[str]:
    names = (reference.headers.keys() | ours.headers.keys()) - OURS
    for name in sorted(names):
        wanted, got = (_settle(one.headers.get(name, "none").encode()) for one in (reference, ours))
        if wanted != got:
            yield f"header {name}: {_show(wanted)}, here {_show(got)}"


def _settle(text: bytes) -> bytes:
    """Replace what changes from answer to answer."""
    for pattern, replacement in _CHANGING:
        text = pattern.sub(replacement, text)
    return text


def _call_text(call: Call) -> str:
    asked = {name: value for name, value in call.request.items() if value is not None}  # Dify takes null for nothing
    if asked.get("model_type", call.kind).replace("-", "_") == call.kind:
        asked.pop("model_type", None)  # which the daemon does not pass on: the path says it
    text = json.dumps(asked, sort_keys=True, ensure_ascii=False)
    return _show(_settle(f"{call.kind} {text}".encode()))


def _show(text: bytes) -> str:
    shown = text.decode("utf-8", "replace")
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}... ({len(shown)})"

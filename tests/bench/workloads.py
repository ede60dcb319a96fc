"""What is asked for: the requests, and how an answer is recognised."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "HELLO",
    "PLUGIN",
    "SLOW_PIECES",
    "STREAM",
    "UPLOAD",
    "Workload",
    "http_request",
    "read_slow_path",
    "sdk_request",
    "slow_workload",
]

PLUGIN: Final = Path(__file__).parent.parent / "plugins" / "bench"
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of request.

    Attributes:
        name: Of the endpoint.
        method: Of the request.
        path: Below the hook.
        body: Of the request.
        content: With which the answer's body begins.
        size: Bytes of the answer's body.
        values: What the path says.
    """

    name: str
    method: str
    path: str
    body: bytes
    content: bytes
    size: int
    values: tuple[tuple[str, str, str], ...] = ()

    @property
    def source(self) -> str:
        """The endpoint's file, relative to the plugin."""
        return f"endpoints/{self.name}.py"


HELLO: Final = Workload(
    name="hello",
    method="GET",
    path="/hello/you",
    body=b"",
    content=b"you <br>",
    size=8,
    values=(("name", "str", "you"),),
)
"""W1: almost nothing in, almost nothing out, so that what is measured is what a request costs besides."""

STREAM: Final = Workload(
    name="stream",
    method="POST",
    path="/stream",
    body=json.dumps({"chunks": 64, "size": MIB // 64, "padding": ""}).encode().ljust(1024),
    content=b"xxxx",
    size=MIB,
)
"""W2: 1 KiB of JSON in, 1 MiB out, in 64 chunks."""

UPLOAD: Final = Workload(
    name="upload", method="POST", path="/upload", body=bytes(10 * MIB), content=b"10485760 bytes\n", size=15
)


SLOW_PIECES: Final = 10
SLOW_PIECE: Final = b"a piece\n"
SLOW_PATH: Final = "/slow/"


def slow_workload(pause_ms: int, pieces: int = SLOW_PIECES) -> Workload:
    """A stream of small pieces with pauses.

    Args:
        pause_ms: Between two pieces.
        pieces: How many.
    """
    return Workload(
        name="slow",
        method="GET",
        path=f"{SLOW_PATH}{pieces}/{pause_ms}",
        body=b"",
        content=SLOW_PIECE,
        size=pieces * len(SLOW_PIECE),
        values=(("pieces", "int", str(pieces)), ("pause_ms", "int", str(pause_ms))),
    )


def read_slow_path(path: str) -> Workload | None:
    """Find the workload of such a stream by its path; None for other paths."""
    if not path.startswith(SLOW_PATH):
        return None
    pieces, _, pause_ms = path.removeprefix(SLOW_PATH).partition("/")
    return slow_workload(int(pause_ms), int(pieces))


def http_request(workload: Workload, *, prefix: str = "", close: bool = False) -> bytes:
    """Write a request as it goes over the wire.

    Args:
        workload: What is asked for.
        prefix: Before the path.
        close: Whether the connection is to end with the answer.
    """
    lines = [f"{workload.method} {prefix}{workload.path} HTTP/1.1", "Host: bench"]
    if workload.body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(workload.body)}"]
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + workload.body


def sdk_request(workload: Workload) -> bytes:
    """Write a request as Dify's daemon sends it to the SDK's serverless mode: JSON with the request in hexadecimal."""
    data = {
        "user_id": "",
        "type": "endpoint",
        "action": "invoke_endpoint",
        "raw_http_request": http_request(workload).hex(),
        "settings": {},
    }
    body = json.dumps({"event": "request", "session_id": "bench", "endpoint_id": "bench", "data": data}).encode()
    head = [
        "POST /invoke?action=invoke_endpoint HTTP/1.1",
        "Host: bench",
        "Content-Type: application/json",
        "Accept: text/event-stream",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body

"""A line for each request; requests that run at the same time can be told apart."""

from __future__ import annotations

import asyncio
import io
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from rich.console import Console

from executor.authoring.printing import Printer
from executor.authoring.request_lines import RequestLines
from executor.http.asgi import Receive, Scope, Send

SCOPE = {"type": "http", "method": "GET", "path": "/e/cat/x", "raw_path": b"/e/cat/x", "query_string": b"q=1"}


async def _nothing() -> None:
    pass


async def _ignore(_: MutableMapping[str, Any]) -> None:
    pass


async def _receive() -> MutableMapping[str, Any]:
    return {"type": "http.disconnect"}


async def _two_at_once() -> str:
    stream = io.StringIO()
    printer = Printer(Console(file=stream, width=300), Path("cat"), lambda _: None)
    lines = RequestLines(printer, dict, _nothing)
    both = asyncio.Event()
    running = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running
        running += 1
        if running == scope["at_once"]:
            both.set()
        await both.wait()
        headers = [(b"x-invocation-id", scope["id"].encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        printer.output("info", f"{lines.mark(scope['id'])}stdout", "printed")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    wrapped = lines.wrap(app)
    for count in (2, 1):
        running = 0
        both.clear()
        await asyncio.gather(
            *(wrapped({**SCOPE, "at_once": count, "id": f"id-000{n}"}, _receive, _ignore) for n in range(count))
        )
    return stream.getvalue()


def test_two_at_once() -> None:
    """The end of an invocation's id stands before what is told of it, and only while there is another one."""
    lines = asyncio.run(_two_at_once()).splitlines()
    assert lines[0] == "  | [0001] stdout: printed"
    assert lines[1][9:].startswith("[0001] GET /e/cat/x?q=1  200  ")
    assert "  3 B  " in lines[1]
    assert lines[2] == "  | stdout: printed", "the other one is alone by then"
    assert lines[4] == "  | stdout: printed"
    assert lines[5][9:].startswith("GET /e/cat/x?q=1  200  ")

"""The endpoints without isolation: `python -m tests.bench.in_process` serves them, all in this one process.

uvicorn, uvloop and httptools as in our service, the worker's code for requests and answers, and nothing between them.
An endpoint is called on the event loop itself, which is the quickest way, and lets no other request in meanwhile. Only
slow streams have a thread each, for they could not be open side by side otherwise.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import uvicorn

from executor.http.asgi import Receive, Scope, Send
from tests.bench.handler import BytesSource, answer_with, load_endpoint, make_invoke
from tests.bench.workloads import HELLO, STREAM, UPLOAD, read_slow_path, slow_workload

__all__ = ["create_app"]

THREADS_MOST: Final = 4096
ROUTES: Final = {(workload.method, workload.path): workload for workload in (HELLO, STREAM, UPLOAD)}


def create_app() -> Any:
    """Build the ASGI application."""
    endpoints = {workload.name: load_endpoint(workload) for workload in (*ROUTES.values(), slow_workload(0))}
    threads = ThreadPoolExecutor(THREADS_MOST)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        slow = read_slow_path(scope["path"])
        workload = slow or ROUTES[scope["method"], scope["path"]]
        body = bytearray()
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        invoke = make_invoke(workload, len(body))
        answer = answer_with(endpoints[workload.name], invoke, BytesSource(bytes(body)))
        head = answer.head
        await send({"type": "http.response.start", "status": head.status, "headers": list(head.headers)})
        async for piece in _take_in_thread(answer.body, threads) if slow else _take(answer.body):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


async def _take(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _take_in_thread(pieces: Iterable[bytes], threads: ThreadPoolExecutor) -> AsyncIterator[bytes]:
    left: Iterator[bytes] = iter(pieces)
    while (piece := await asyncio.get_running_loop().run_in_executor(threads, next, left, None)) is not None:
        yield piece


def main() -> None:
    """Serve on a free port of this machine, and print it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        create_app(),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_level="warning",
        access_log=False,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()

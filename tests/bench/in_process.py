"""The endpoints without isolation: `python -m tests.bench.in_process` serves them, all in this one process.

uvicorn, uvloop and httptools as in our service, the worker's code for requests and answers, and nothing between them.
An endpoint is called on the event loop itself, which is the quickest way, and lets no other request in meanwhile.
"""

from __future__ import annotations

import socket
from typing import Any, Final

import uvicorn

from executor.http.asgi import Receive, Scope, Send
from tests.bench.handler import BytesSource, answer_with, load_endpoint, make_invoke
from tests.bench.workloads import HELLO, STREAM, UPLOAD

__all__ = ["create_app"]

ROUTES: Final = {(workload.method, workload.path): workload for workload in (HELLO, STREAM, UPLOAD)}


def create_app() -> Any:
    """Build the ASGI application."""
    endpoints = {route: load_endpoint(workload) for route, workload in ROUTES.items()}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        route = (scope["method"], scope["path"])
        body = bytearray()
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        invoke = make_invoke(ROUTES[route], len(body))
        answer = answer_with(endpoints[route], invoke, BytesSource(bytes(body)))
        head = answer.head
        await send({"type": "http.response.start", "status": head.status, "headers": list(head.headers)})
        for piece in answer.body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


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

"""Real HTTP servers for the tests, in place of those of others: on loopback, by uvicorn, with all that can go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import uvicorn

__all__ = ["Application", "CutError", "Exchange", "listen", "running", "serving"]

Application = Callable[["Exchange"], Awaitable[None]]
"""Answers one request."""

WAIT_S: Final = 60


class CutError(Exception):
    """Raised by an application to have its connection cut where it is."""


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self._receive, self._send = receive, send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode()
        self.headers: dict[str, str] = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        self.client: tuple[str, int] = tuple(scope["client"])
        self.body = b""

    async def read(self) -> None:
        """Read the whole body."""
        while True:
            message = await self._receive()
            self.body += message.get("body", b"")
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                return

    async def wait_for_disconnect(self) -> None:
        """Wait until the client has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, headers: dict[str, str]) -> None:
        """Send the head."""
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def send(self, data: bytes) -> None:
        """Send more of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """End the body."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def cut(self) -> None:
        """Cut the connection where it is."""
        self._send.__self__.transport.abort()  # uvicorn's, of which there is no other way to say so

    async def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send a whole answer."""
        await self.start(status, {"content-length": str(len(body)), **(headers or {})})
        await self.send(body)
        await self.end()

    async def answer_json(self, document: object, status: int = 200) -> None:
        """Send a whole answer of JSON."""
        await self.answer(status, json.dumps(document).encode(), {"content-type": "application/json"})


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, application: Application, certificate: Path | None = None) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            exchange = Exchange(scope, receive, send)
            await exchange.read()
            try:
                await application(exchange)
            except CutError:
                exchange.cut()

        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                log_level="critical",
                timeout_graceful_shutdown=1,
                ssl_certfile=certificate,
            )
        )
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


def listen(port: int = 0) -> tuple[socket.socket, str]:
    """Open a socket on loopback, and tell its URL."""
    listener = socket.create_server(("127.0.0.1", port))
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def serving(application: Application, certificate: Path | None = None) -> AsyncIterator[str]:
    """Serve within this event loop, and give the URL; with TLS if there is a certificate, its key in the same file."""
    listener, url = listen()
    server = _Server(application, certificate)
    task = asyncio.ensure_future(server._serve(sockets=[listener]))  # the other one takes the signals of the process
    try:
        assert await asyncio.to_thread(server.listening.wait, WAIT_S)
        yield url if certificate is None else url.replace("http:", "https:")
    finally:
        server.should_exit = server.force_exit = True
        await task
        listener.close()


@contextmanager
def running(application: Application, port: int = 0) -> Iterator[str]:
    """Serve in a thread, and give the URL."""
    listener, url = listen(port)
    server = _Server(application)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        assert server.listening.wait(WAIT_S)
        yield url
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        with contextlib.suppress(OSError):
            listener.close()

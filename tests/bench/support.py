"""A small server for the tests of the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

__all__ = ["SmallServer", "serve"]


class SmallServer:
    """Gives each request the next answer of a list, over and over.

    Args:
        answers: Whole answers, as they go over the wire.

    Attributes:
        port: Where it listens.
        connections: How many were opened.
        requests: How many came; they must have no bodies.
    """

    def __init__(self, answers: Sequence[bytes]) -> None:
        self.port = 0
        self.connections = 0
        self.requests = 0
        self._answers = answers
        self._open = 0
        self._all_closed = asyncio.Event()

    def next_answer(self) -> bytes:
        """A request came."""
        answer = self._answers[self.requests % len(self._answers)]
        self.requests += 1
        return answer

    def opened(self) -> None:
        """A connection was opened."""
        self.connections += 1
        self._open += 1
        self._all_closed.clear()

    def closed(self) -> None:
        """A connection was closed."""
        self._open -= 1
        if self._open == 0:
            self._all_closed.set()

    async def wait_closed(self) -> None:
        """Wait until no connection is open."""
        if self._open:
            await self._all_closed.wait()


class _Talk(asyncio.Protocol):
    def __init__(self, server: SmallServer) -> None:
        self._server = server
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.opened()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            self._buffer = self._buffer.partition(b"\r\n\r\n")[2]
            self._transport.write(self._server.next_answer())

    def connection_lost(self, _exc: Exception | None) -> None:
        self._server.closed()


@asynccontextmanager
async def serve(answers: Sequence[bytes]) -> AsyncIterator[SmallServer]:
    """Run a server; at the end, wait until its clients have closed their connections."""
    small = SmallServer(answers)
    server = await asyncio.get_running_loop().create_server(lambda: _Talk(small), "127.0.0.1", 0)
    small.port = server.sockets[0].getsockname()[1]
    async with server:
        yield small
        await small.wait_closed()

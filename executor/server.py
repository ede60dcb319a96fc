"""uvicorn, embedded: our sockets, our signals, our protocol class."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import Any, Final

from uvicorn import Config, Server

from executor.errors import StartupError
from executor.gateway.http_protocol import HeadLimits, bounded_protocol

__all__ = ["HttpServer", "open_listener"]

BACKLOG: Final = 2048
"""Connections that the kernel holds for us; uvicorn's own default."""

CLOSE_TIME_S: Final = 5
"""Time for uvicorn to close its connections once every invocation has ended."""


class HttpServer(Server):
    """One uvicorn server that leaves signals to the service.

    Args:
        app: ASGI application.
        listener: Bound, listening socket. Taken over.
        limits: Bounds of its connections.
    """

    def __init__(self, app: Any, listener: socket.socket, limits: HeadLimits) -> None:
        super().__init__(
            Config(
                app,
                http=bounded_protocol(limits),
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=CLOSE_TIME_S,
            )
        )
        self._listener = listener
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell whoever waits for it."""
        await super().startup(sockets)
        self._up.set()

    async def start(self) -> None:
        """Begin to serve, and return when connections are accepted."""
        self._task = asyncio.create_task(self.serve(sockets=[self._listener]))
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait({self._task, up}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._task.done():
            await self._task

    def stop_accepting(self) -> None:
        """Close the listening socket; connections that are open stay so."""
        for server in self.servers:
            server.close()

    async def stop(self) -> None:
        """Close everything."""
        if self._task is not None:
            self.should_exit = True
            await self._task


def open_listener(host: str, port: int, *, option: str) -> socket.socket:
    """Open a listening TCP socket.

    Args:
        host: Address or name to listen on.
        port: TCP port; 0 picks a free one.
        option: The option of the command line that chooses the port, for the message.

    Raises:
        StartupError: It cannot be had, with the reason and what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartupError(
                f"port {port} on {host} is in use, perhaps by another executor (see `executor ps`); "
                f"stop that program or choose another port with {option}"
            ) from error
        if error.errno == errno.EACCES:
            raise StartupError(f"port {port} on {host} may not be used by this user; choose one above 1023") from error
        raise StartupError(f"cannot listen on {host} port {port}: {error}") from error

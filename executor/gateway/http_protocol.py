"""uvicorn's HTTP protocol with the bounds that a server open to strangers needs.

uvicorn's httptools protocol has no limit on the size of a request's head, on the time a client may take for it, or
on the number of connections, and offers an application no way to end a connection in the middle of a response.
This subclass adds those four; everything else is uvicorn's.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

__all__ = ["BoundedHttpProtocol", "HeadLimits", "bounded_protocol"]

STATUS_PHRASES: Final = {
    408: b"Request Timeout",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
}

PARSER_SLACK: Final = 16_384
"""Separators, line ends and chunk sizes, which are not part of any name or value."""


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bounds of one connection's requests.

    Attributes:
        url_size: Longest request target in bytes. Over it: 414.
        header_size: Names and values of all headers together, in bytes. Over it: 431.
        header_count: Most headers. Over it: 431.
        header_time_s: Longest time from the first byte of a request, or from the connection, to the end of the
            head, in seconds. Over it the connection is closed.
        connections: Most open connections; further ones are closed at once.
        client_idle_time_s: How long the kernel tries to deliver data that a client does not take, in seconds
            (TCP_USER_TIMEOUT, tcp(7)); it bounds what a stalled client can hold after its response is complete.
    """

    url_size: int
    header_size: int
    header_count: int
    header_time_s: float
    connections: int
    client_idle_time_s: float


class _HeadTooLargeError(Exception):
    """Raised out of a parser callback: the head of a request is over a limit."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. Made by the class that `bounded_protocol` returns, which carries the limits."""

    limits: HeadLimits

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_bytes = 0
        self._quiet_bytes = 0
        self._refusal = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Refuse connections over the limit; begin to wait for the first head."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self.connections.discard(self)
            transport.abort()
            return
        _set_user_timeout(transport, self.limits.client_idle_time_s)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, unless this connection's request has been refused already.

        The parser keeps an unfinished header, or trailer, for itself; so what it has swallowed without a word since
        the last sign of progress is counted here.
        """
        if self._refusal:
            return
        self._quiet_bytes += len(data)
        super().data_received(data)
        if self._quiet_bytes > self.limits.url_size + self.limits.header_size + PARSER_SLACK and not self._refusal:
            self._refusal = 431
            self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """Answer what could not be parsed, with the reason where it is one of our limits."""
        if not self._refusal and not self._answering():
            super().send_400_response(msg)
            return
        if self._answering():
            self.transport.abort()  # in the middle of another answer there is no way to say it
            return
        phrase = STATUS_PHRASES[self._refusal]
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (self._refusal, phrase, len(phrase), phrase)
        )
        self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to count a new head."""
        super().on_message_begin()
        self._head_bytes = self._quiet_bytes = 0
        self._start_head_timer()
        self.scope["extensions"] = {"executor.cut": self.cut}  # type: ignore[dict-item] # uvicorn expects maps here

    def on_url(self, url: bytes) -> None:
        """Collect the request target."""
        super().on_url(url)
        if len(self.url) > self.limits.url_size:
            self._refuse(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header."""
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > self.limits.header_size or len(self.headers) > self.limits.header_count:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        """Hand the request over."""
        self._stop_head_timer()
        self._quiet_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._quiet_bytes = 0
        super().on_body(body)

    def cut(self, at_once: bool) -> None:  # noqa: FBT001 - called through the ASGI scope
        """Close the connection although the response is not complete.

        Args:
            at_once: Drop what has not been sent, for a client that does not read; otherwise it is sent first.
        """
        if self._answering():
            self.cycle.response_complete = True
            self.cycle.message_event.set()
        if at_once:
            self.transport.abort()
        else:
            self.transport.close()

    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn declares it as never None, and sets it to None
        return cycle is not None and not cycle.response_complete

    def _refuse(self, status: int) -> None:
        self._refusal = status
        raise _HeadTooLargeError

    def _start_head_timer(self) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(self.limits.header_time_s, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def bounded_protocol(limits: HeadLimits) -> type[BoundedHttpProtocol]:
    """Make the protocol class for a server with these limits."""
    return type("BoundedHttpProtocol", (BoundedHttpProtocol,), {"limits": limits})


def _set_user_timeout(transport: asyncio.Transport, seconds: float) -> None:
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))

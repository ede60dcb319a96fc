"""uvicorn's HTTP protocol with the bounds that a server open to strangers needs.

uvicorn's httptools protocol has no limit on the size of a request's head, on the time a client may take for it, on
the number of connections, or on the requests that wait in one, and offers an application no way to end a connection
in the middle of a response. This subclass adds those; everything else is uvicorn's.

Rules of this file
------------------
1. Requests of one connection are answered one after another. `_running` is the one being answered, `cycle` the last
   one received; they differ when a client does not wait for answers (pipelining).
2. At any moment one of these ends a connection on which nothing happens: the application's clocks while a request is
   being answered, uvicorn's keep-alive timer right after an answer, our timer otherwise.
3. A client that closes its half of the connection has gone, as for nginx: TCP does not tell it from one that has
   closed both.
4. What cannot be understood is answered where it can be, after the answers that are due, and ends the connection.
5. Where more of a request may be coming in, only our half is closed at first, and the rest is taken and dropped: to
   close a socket with unread data resets the connection, and may take the answer with it (RFC 9112 section 9.6).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from executor.gateway.held_head import HeadHolder
from executor.gateway.request_head import body_framing, find_fault

__all__ = ["BoundedHttpProtocol", "HeadLimits", "bounded_protocol"]

PARSER_SLACK: Final = 16_384
"""Separators, line ends and chunk sizes, which are not part of any name or value."""

PIPELINED: Final = 8
"""Requests that may wait for their turn in one connection. Few clients send any before the answer has come."""

LINGER_TIME_S: Final = 30.0
"""How long the rest of a request is taken and dropped once it is answered: nginx's `lingering_time`."""

REFUSED_MOST: Final = 16 * 1024**2
"""Bytes that are taken and dropped of a head or trailer that was refused; one without an end is cut off there."""


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


class _RefusedError(Exception):
    """Raised out of a parser callback: the request is not taken."""


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
        self._running: RequestResponseCycle | None = None
        self._holder: HeadHolder | None = None
        self._data = b""
        self._head_bytes = 0
        self._head_complete = False
        self._quiet_bytes = 0
        self._refusal = 0
        self._half_closed = False
        self._resuming = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Refuse connections over the limit; begin to wait for the first head."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self.connections.discard(self)
            transport.abort()
            return
        _set_user_timeout(transport, self.limits.client_idle_time_s)
        self._close_in(self.limits.header_time_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered, which need not be the last one; forget those that wait."""
        self._stay_open()
        self.pipeline.clear()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, unless this connection takes nothing more.

        The parser keeps an unfinished header, or trailer, for itself; so what it has swallowed without a word since
        the last sign of progress is counted here.
        """
        if self._refusal:
            self._quiet_bytes += len(data)
            if self._half_closed and self._quiet_bytes > REFUSED_MOST:
                self.transport.abort()
            return
        self._data = data
        self._quiet_bytes += len(data)
        super().data_received(data)
        if self._quiet_bytes > self.limits.url_size + self.limits.header_size + PARSER_SLACK and not self._refusal:
            self._refusal = 431
            self.send_400_response("")
        if self._timer is None and self.timeout_keep_alive_task is None and not self._answering():
            self._close_in(self.limits.header_time_s)  # bytes that are no request, not even the beginning of one

    def send_400_response(self, msg: str) -> None:
        """Answer what could not be parsed, with the reason where it is one of our limits."""
        status = self._refusal = self._refusal or 400
        if self._half_closed:
            self.transport.close()  # it was what is taken and dropped
        elif self._answering() and not self.cycle.more_body:
            self.cycle.keep_alive = False  # the answers that are due come first, then the end
        elif self._answering() and (self.cycle is not self._running or self.cycle.response_started):
            self.transport.abort()  # in the middle of another answer there is no way to say it
        else:
            self.transport.write(_refusal_bytes(status, msg, self.server_state.default_headers))
            self._end_answer(disconnected=True)
            self._close_half()

    def on_message_begin(self) -> None:
        """Begin to count a new head."""
        if self._resuming:
            return
        if len(self.pipeline) >= PIPELINED or self._half_closed:
            raise _RefusedError
        super().on_message_begin()
        self._head_bytes = self._quiet_bytes = 0
        self._head_complete = False
        self._close_in(self.limits.header_time_s)
        self.scope["extensions"] = {"executor.cut": self.cut}  # type: ignore[dict-item] # uvicorn expects maps here

    def on_url(self, url: bytes) -> None:
        """Collect the request target."""
        if self._resuming:
            return
        super().on_url(url)
        if len(self.url) > self.limits.url_size:
            self._refuse(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header. Those that come after the body are dropped: they must not pass for the head's."""
        if self._resuming:
            return
        if not self._head_complete:
            super().on_header(name, value)
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > self.limits.header_size or len(self.headers) > self.limits.header_count:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        """Hand the request over."""
        if self._resuming:
            return
        self._stay_open()
        self._quiet_bytes = 0
        version = self.parser.get_http_version()
        fault = find_fault(version, self.parser.get_method(), self.headers)
        if fault:
            self._refuse(fault)
        super().on_headers_complete()
        self._head_complete = True
        if version == "1.0":
            _answer_without_chunks(self.cycle)
        if self.cycle is not self._running:
            self.flow.resume_reading()  # uvicorn stops here, and then would not see the client go

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._quiet_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request. For the parser a request for an upgrade ends with its head."""
        if self._resuming or (self.parser.should_upgrade() and body_framing(self.headers)):
            return
        super().on_message_complete()
        self.cycle.more_body = False
        if self._half_closed:
            self.transport.close()
        elif not self._answering():  # the rest of a request that was answered before
            self._close_in(self.limits.header_time_s)

    def on_response_complete(self) -> None:
        """Let the next request begin; if this one is still coming in, take the rest of it, for a while."""
        if self._holder is not None:
            self._holder.release()
        super().on_response_complete()
        if self._half_closed:
            self._unset_keepalive_if_required()
        elif not self._answering() and self.cycle.more_body:
            self._close_in(LINGER_TIME_S)

    def cut(self, at_once: bool) -> None:  # noqa: FBT001 - called through the ASGI scope
        """Close the connection although the response is not complete.

        Args:
            at_once: Drop what has not been sent, for a client that does not read; otherwise it is sent first.
        """
        if self._holder is not None and not at_once:
            self._holder.release()
        old = self._running is not None and self._running.scope["http_version"] == "1.0"
        self._end_answer(disconnected=False)
        if old:
            _reset(self.transport)  # an orderly end would be the end of the body
        elif at_once:
            self.transport.abort()
        else:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        cycle.transport = self._holder = HeadHolder(self.transport, self._end)
        super()._start_asgi_task(cycle, app)

    def _unsupported_upgrade_warning(self) -> None:
        """Go on in HTTP/1.1, as RFC 9110 section 7.8 allows; for the parser this was the end of it.

        Clients that offer `h2c` with their first request (curl, Java) expect its body to be read, and the next one.
        """
        error = sys.exception()
        rest = self._data[error.args[0] :] if isinstance(error, httptools.HttpParserUpgrade) else b""
        self.parser = httptools.HttpRequestParser(self)
        framing = body_framing(self.headers)
        if framing:
            self._resuming = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % framing)
            self._resuming = False
        if rest:
            self.data_received(rest)

    def _end(self) -> None:
        """Close the connection after an answer, or because there will be none."""
        whole = not self._answering()
        if whole and not self.transport.is_closing() and (self.cycle.more_body or self._refusal):
            self._close_half()
        else:
            self.transport.close()

    def _close_half(self) -> None:
        """Say that nothing more is coming, and take what the client still sends, for a while."""
        self._half_closed = True
        self.pipeline.clear()
        self.flow.resume_reading()
        self.transport.write_eof()
        self._close_in(LINGER_TIME_S)

    def _answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _end_answer(self, *, disconnected: bool) -> None:
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected |= disconnected
            self._running.response_complete = True
            self._running.message_event.set()

    def _refuse(self, status: int) -> None:
        self._refusal = status
        raise _RefusedError

    def _close_in(self, seconds: float) -> None:
        self._stay_open()
        self._timer = self.loop.call_later(seconds, self._on_late)

    def _stay_open(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_late(self) -> None:
        self._timer = None
        if self._answering():  # what is late is the head of the next request
            self._refusal = 408
            self.cycle.keep_alive = False
        else:
            self.transport.close()


def bounded_protocol(limits: HeadLimits) -> type[BoundedHttpProtocol]:
    """Make the protocol class for a server with these limits."""
    return type("BoundedHttpProtocol", (BoundedHttpProtocol,), {"limits": limits})


def _set_user_timeout(transport: asyncio.Transport, seconds: float) -> None:
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


def _reset(transport: asyncio.Transport) -> None:
    """Close with RST instead of FIN (SO_LINGER of socket(7) with a time of zero)."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _refusal_bytes(status: int, msg: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    phrase = HTTPStatus(status).phrase
    text = (msg if status == HTTPStatus.BAD_REQUEST and msg else phrase).encode()
    lines = [
        b"HTTP/1.1 %d %s" % (status, phrase.encode()),
        *(b"%s: %s" % header for header in headers),
        b"content-type: text/plain; charset=utf-8",
        b"content-length: %d" % len(text),
        b"connection: close",
    ]
    return b"\r\n".join([*lines, b"", text])


def _answer_without_chunks(cycle: RequestResponseCycle) -> None:
    """Let the end of the connection tell the end of the body: HTTP/1.0 knows no chunks, uvicorn sends them anyway.

    Source: RFC 9112 section 6.1.
    """
    send: Callable[[Any], Awaitable[None]] = cycle.send
    cycle.chunked_encoding = False

    async def send_plainly(message: Any) -> None:
        if message["type"] == "http.response.body":
            cycle.expected_content_length = len(message.get("body", b""))  # the gateway has checked the real one
        await send(message)

    cycle.send = send_plainly  # type: ignore[method-assign] # uvicorn has no other place for this

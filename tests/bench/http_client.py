"""A client for HTTP/1.1 over a bare socket: just enough to make load, and cheap.

`ResponseReader` understands answers with `Content-Length`, in chunks, or up to the end of the connection. It does no
I/O. `Connection` is one connection, with one request at a time on it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, cast

__all__ = ["AnswerError", "Connection", "ResponseReader"]

KEPT_MOST: Final = 65_536
"""Bytes of a body that are kept, to be looked into; the others are only counted."""

LINE_MOST: Final = 65_536
"""Bytes of a head, or of the line before a chunk."""

LINE_END: Final = len(b"\r\n")
HEX_DIGITS: Final = frozenset(b"0123456789abcdefABCDEF")
BODILESS: Final = frozenset({204, 304})

_READ: Final = bytearray(1 << 18)
"""What was read last, of any connection."""


CLOSE: Final = b"\r\nConnection: close\r\n"
"""With which a request says that its connection ends with the answer; not every server repeats it there."""


class AnswerError(Exception):
    """What came was not an answer in HTTP/1.1, or not a whole one."""


class ResponseReader:
    """Reads one answer.

    Attributes:
        status: Status code; 0 until the head is there.
        size: Bytes of the body so far.
        kept: The first of them.
        done: Whether all is there.
        reusable: Whether another request may follow on the connection.
    """

    def __init__(self) -> None:
        self.status = 0
        self.size = 0
        self.kept = b""
        self.done = False
        self.reusable = True
        self._rest = b""  # of what came: the beginning of a head or of a line
        self._left = 0  # of the body, or of the chunk and the end of its line
        self._chunked = False
        self._until_end = False
        self._in_trailers = False

    def feed(self, data: bytes | bytearray, size: int | None = None) -> bool:
        """Take what came; whether the answer is complete now.

        Args:
            data: Not changed, and not needed any more afterwards.
            size: How many bytes of it have come; all if not given.

        Raises:
            AnswerError: It is malformed, or goes on after its end.
        """
        end = len(data) if size is None else size
        if self.done:
            raise AnswerError(f"bytes after the end of the answer: {bytes(data[: min(end, 80)])!r}")
        if self._rest:
            data = self._rest + data[:end]
            end = len(data)
        position = self._read(data, end)
        if self.done and position < end:
            raise AnswerError(f"bytes after the end of the answer: {bytes(data[position : min(end, position + 80)])!r}")
        self._rest = bytes(data[position:end])
        return self.done

    def _read(self, data: bytes | bytearray, end: int) -> int:
        """Read what can be read; how many bytes that was."""
        position = 0
        if self.status == 0:
            position = self._read_head(data, end)
            if self.status == 0:
                return position
        if self._chunked:
            return self._read_chunks(data, position, end)
        if self._until_end:
            return self._take(data, position, end)
        position = self._take(data, position, min(end, position + self._left))
        self.done = self._left == 0
        return position

    def end(self) -> None:
        """The connection has ended.

        Raises:
            AnswerError: The answer was not complete.
        """
        if self._until_end:
            self.done = True
        if not self.done:
            raise AnswerError(f"the connection ended early: status {self.status}, {self.size} bytes of body")

    def _read_head(self, data: bytes | bytearray, end: int) -> int:
        after = data.find(b"\r\n\r\n", 0, end)
        if after < 0:
            _check_length(b"head", end)
            return 0
        lines = bytes(data[:after]).split(b"\r\n")
        version, _, rest = lines[0].partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise AnswerError(f"not a status line: {lines[0][:80]!r}")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip().lower()
        self.status = int(rest[:3])
        self.reusable = headers.get(b"connection") != b"close"
        self._chunked = headers.get(b"transfer-encoding") == b"chunked"
        length = headers.get(b"content-length")
        if length is not None and not length.isdigit():
            raise AnswerError(f"not a length: {length!r}")
        self._left = int(length or 0)
        self._until_end = not self._chunked and length is None and self.status not in BODILESS
        if self._until_end:
            self.reusable = False
        return after + 4

    def _read_chunks(self, data: bytes | bytearray, position: int, end: int) -> int:
        """Each chunk is a line with its size, the data, and an empty line; one of size 0 and trailers end them."""
        while not self.done:
            if self._left > LINE_END:
                position = self._take(data, position, min(end, position + self._left - LINE_END))
            if self._left > LINE_END or (self._left and end - position < LINE_END):
                break
            if self._left:
                if data[position : position + LINE_END] != b"\r\n":
                    raise AnswerError("a chunk does not end where it should")
                position, self._left = position + LINE_END, 0
            line_end = data.find(b"\r\n", position, end)
            if line_end < 0:
                _check_length(b"line of a chunk", end - position)
                break
            line = bytes(data[position:line_end])
            position = line_end + LINE_END
            if self._in_trailers:
                self.done = not line
                continue
            digits = line.partition(b";")[0].strip()
            if not digits or not HEX_DIGITS.issuperset(digits):
                raise AnswerError(f"not the size of a chunk: {line[:80]!r}")
            size = int(digits, 16)
            self._left = size + LINE_END if size else 0
            self._in_trailers = size == 0
        return position

    def _take(self, data: bytes | bytearray, position: int, end: int) -> int:
        """Count a piece of the body, of which the first ones are kept, too; where it ends."""
        missing = KEPT_MOST - len(self.kept)
        if missing > 0:
            self.kept += bytes(data[position : min(end, position + missing)])
        self.size += end - position
        self._left -= end - position
        return end


def _check_length(what: bytes, size: int) -> None:
    if size > LINE_MOST:
        raise AnswerError(f"a {what.decode()} of more than {LINE_MOST} bytes")


class Connection(asyncio.BufferedProtocol):
    """One connection to a server; use `open`.

    Attributes:
        usable: Whether a request may be sent on it.
        first_ns: When the first piece of the last answer was there, by the monotonic clock; 0 before that.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader: ResponseReader | None = None
        self._answered: asyncio.Future[ResponseReader] | None = None
        self._sign = b""
        self.usable = False
        self.first_ns = 0

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        """Connect.

        Raises:
            OSError: Nobody listens.
        """
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    async def ask(self, request: bytes, sign: bytes = b"") -> ResponseReader:
        """Send a request and wait for the whole answer.

        Args:
            request: Head and body, as they go over the wire.
            sign: What the body of the answer has in it as soon as its first piece is there.

        Raises:
            AnswerError: What came was no answer.
        """
        assert self._transport is not None
        self._reader = ResponseReader()
        self._sign, self.first_ns = sign, 0
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        reader = await self._answered
        if not reader.reusable or CLOSE in request:
            self.close()
        return reader

    def close(self) -> None:
        """Close it."""
        self.usable = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not derive from it
        self.usable = True

    def get_buffer(self, sizehint: int) -> bytearray:
        """Called by the event loop: where to read to. What comes is looked at before anything else is read."""
        del sizehint
        return _READ

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the event loop."""
        if self._reader is None or self._answered is None or self._answered.done():
            self.close()  # unasked: it cannot be known what an answer that follows belongs to
            return
        try:
            done = self._reader.feed(_READ, nbytes)
            if not self.first_ns and self._reader.status and self._sign in self._reader.kept:
                self.first_ns = time.monotonic_ns()
            if done:
                self._answered.set_result(self._reader)
        except AnswerError as error:
            self._answered.set_exception(error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self.usable = False
        if self._reader is None or self._answered is None or self._answered.done():
            return
        try:
            if exc is not None:
                raise AnswerError(f"the connection broke: {exc}")
            self._reader.end()
            self._answered.set_result(self._reader)
        except AnswerError as error:
            self._answered.set_exception(error)

"""Streams of lines: JSON lines of a Dify daemon, server-sent events of OpenAI's kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

__all__ = ["LineReader", "LongLineError"]

END: Final = b"\n"


class LongLineError(ValueError):
    """A line is longer than allowed. Nothing more can be read from the stream."""


@final
class LineReader:
    """Takes a stream apart at line ends, however it comes cut.

    Args:
        max_size: Longest line, in bytes, with the CR of its end.
    """

    __slots__ = ("_buffer", "_max_size", "_searched")

    def __init__(self, max_size: int) -> None:
        self._buffer = bytearray()
        self._max_size = max_size
        self._searched = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take more of the stream, and give the lines that are complete now. Read it to its end before the next call.

        Empty lines are left out, and so are the ends of lines, LF or CR LF.

        Raises:
            LongLineError: A line is longer than allowed.
        """
        self._buffer += data
        start = 0
        while (end := self._buffer.find(END, max(start, self._searched))) >= 0:
            self._check(end - start)
            line = bytes(self._buffer[start:end]).removesuffix(b"\r")
            start = end + 1
            if line:
                yield line
        del self._buffer[:start]
        self._searched = len(self._buffer)
        self._check(self._searched)

    def close(self) -> Iterator[bytes]:
        """Take the end of the stream, and give the last line, if it has no end."""
        line = bytes(self._buffer).removesuffix(b"\r")
        self._buffer.clear()
        self._searched = 0
        if line:
            yield line

    def _check(self, size: int) -> None:
        if size > self._max_size:
            raise LongLineError(f"a line has more than the {self._max_size} bytes that are allowed")

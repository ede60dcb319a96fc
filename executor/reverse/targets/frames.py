"""Streams of Dify's inner API: parts with their length in front.

```text
| magic 0x0f | reserved | header length, 16 bits, 10 | data length, 32 bits | reserved, 6 bytes | data |
  1 byte       1 byte     2 bytes                      4 bytes                6 bytes
  `-- the first four --------------------------------' `-- the header, 10 bytes ---------------'
```

Numbers are little endian. Nothing is allocated for a length that is only announced.

Source: langgenius/dify-plugin-daemon, `LengthPrefixedChunking`; langgenius/dify, `length_prefixed_response`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, final

__all__ = ["FrameError", "FrameReader"]

MAGIC: Final = 0x0F
HEADER_LENGTH: Final = 10
_PREFIX: Final = struct.Struct("<BBHI6x")


class FrameError(ValueError):
    """The stream is not what it should be; its text says how. Nothing more can be read from it."""


@final
class FrameReader:
    """Takes a stream apart, however it comes cut.

    Args:
        max_size: Largest part, in bytes.
    """

    __slots__ = ("_buffer", "_max_size", "_wanted")

    def __init__(self, max_size: int) -> None:
        self._buffer = bytearray()
        self._max_size = max_size
        self._wanted = -1

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take more of the stream, and give the parts that are complete now. Read it to its end before the next call.

        Raises:
            FrameError: The stream is broken, or announces a part that is too large.
        """
        self._buffer += data
        while self._has_head() and len(self._buffer) >= self._wanted:
            part = bytes(self._buffer[: self._wanted])
            del self._buffer[: self._wanted]
            self._wanted = -1
            yield part

    def close(self) -> None:
        """Take the end of the stream.

        Raises:
            FrameError: It ends in the middle of a part.
        """
        if self._buffer or self._wanted >= 0:
            raise FrameError("the stream ends in the middle of a part")

    def _has_head(self) -> bool:
        """Read the head of the next part once it is there, or what there is of it when it is wrong already."""
        if self._wanted >= 0:
            return True
        if self._buffer[:1] and self._buffer[0] != MAGIC:
            raise FrameError(f"a part begins with 0x{self._buffer[0]:02x}, not with 0x{MAGIC:02x}")
        if len(self._buffer) < _PREFIX.size:
            return False
        _, _, header_length, data_length = _PREFIX.unpack_from(self._buffer)
        if header_length != HEADER_LENGTH:
            raise FrameError(f"the header of a part has {header_length} bytes, not {HEADER_LENGTH}")
        if data_length > self._max_size:
            raise FrameError(f"a part has {data_length} bytes, more than the {self._max_size} that are allowed")
        del self._buffer[: _PREFIX.size]
        self._wanted = data_length
        return True

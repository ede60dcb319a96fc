"""Frames: how messages are cut out of a stream of bytes, and nothing about what they mean.

    stream  = preface frame*
    preface = 45 45 50 VV                            "EEP", version

     0       1       2       3       4       5               5+N
    +-------+-------+-------+-------+-------+------ - - ------+
    |     N, unsigned, big-endian   | type  |  N bytes        |
    +-------+-------+-------+-------+-------+------ - - ------+

The length is checked against the limit of the type as soon as the five bytes are there, before any of the
payload is waited for. A reader never looks at a payload twice and drops from the front of a view or a bytearray,
which costs nothing (CPython moves an offset), so the work is linear in the bytes however they come cut.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, final

from protocol.errors import LocalProtocolError, RemoteProtocolError, StreamCutError
from protocol.limits import MAX_RECEIVE_BUFFER

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HEADER_SIZE", "PREFACE", "VERSION", "FrameReader", "frame_header"]

VERSION: Final = 5
"""Version of the protocol; a peer with another one is refused."""

PREFACE: Final = b"EEP" + bytes([VERSION])
"""First bytes of each direction."""

_HEADER: Final = struct.Struct(">IB")
HEADER_SIZE: Final = _HEADER.size
"""Bytes before the payload of a frame."""


def frame_header(kind: int, size: int) -> bytes:
    """Return the five bytes before a payload of `size` bytes."""
    return _HEADER.pack(size, kind)


@final
class FrameReader:
    """Cuts a stream into frames.

    What it is fed is not copied where every frame is read before more comes, but for the beginning of the next one.

    Args:
        limits: Largest payload in bytes by type. A type that is not there is refused.
    """

    def __init__(self, limits: Mapping[int, int]) -> None:
        self._limits = limits
        self._fed = memoryview(b"")
        self._kept = bytearray()
        self._preface_seen = False
        self._eof = False

    @property
    def at_eof(self) -> bool:
        """Whether the stream has ended between frames and every frame has been read."""
        return self._eof and not self.holds_bytes

    @property
    def holds_bytes(self) -> bool:
        """Whether there are bytes that no frame was cut out of yet."""
        return bool(self._kept or self._fed)

    def feed(self, data: bytes | memoryview) -> None:
        """Take bytes of the stream; none at all mark its end.

        Args:
            data: They must not change until `keep` is called.

        Raises:
            LocalProtocolError: After the end, or the buffer is full of frames that have not been read.
        """
        if self._eof and data:
            raise LocalProtocolError("data after the end of the stream")
        if len(self._kept) + len(self._fed) + len(data) > MAX_RECEIVE_BUFFER:
            raise LocalProtocolError(f"receive buffer over {MAX_RECEIVE_BUFFER} bytes: read the messages first")
        self._eof = not data
        self.keep()
        if self._kept:
            self._kept += data
        else:
            self._fed = memoryview(data)

    def keep(self) -> None:
        """Copy what no frame was cut out of yet: what was fed may change from now on."""
        if self._fed:
            self._kept += self._fed
            self._fed = memoryview(b"")

    def next_frame(self) -> tuple[int, bytes] | None:
        """Return the next (type, payload), or None if more bytes are needed or the stream has ended.

        Raises:
            StreamCutError: The stream has ended within a frame.
            RemoteProtocolError: Wrong preface, unknown type, or payload over its limit.
        """
        if not self._preface_seen:
            self._read_preface()
        source = self._kept or self._fed
        if self._preface_seen and len(source) >= HEADER_SIZE:
            size, kind = _HEADER.unpack_from(source)
            if size > self._limits.get(kind, -1):
                raise self._refusal(kind, size)
            end = HEADER_SIZE + size
            if len(source) >= end:
                with memoryview(source) as view:
                    payload = bytes(view[HEADER_SIZE:end])
                self._drop(end)
                return kind, payload
        if self._eof and source:
            raise StreamCutError(f"the stream ended within a frame, after {len(source)} bytes of it")
        return None

    def next_payloads(self, kind: int, most: int) -> list[memoryview]:
        """Return the payloads of at most so many frames of one type that come next and are there whole; maybe none.

        They are good until more is fed. What is wrong with the frame after them, `next_frame` tells.
        """
        source, limit = self._kept or self._fed, self._limits[kind]
        payloads: list[memoryview] = []
        begin, there = 0, len(source) if self._preface_seen else 0
        with memoryview(source) as view:
            while begin + HEADER_SIZE <= there and len(payloads) < most:
                size, found = _HEADER.unpack_from(view, begin)
                end = begin + HEADER_SIZE + size
                if found != kind or size > limit or end > there:
                    break
                payload = source[begin + HEADER_SIZE : end]  # a copy of what is kept, a view of what was fed
                payloads.append(memoryview(payload))
                begin = end
        self._drop(begin)
        return payloads

    def _drop(self, size: int) -> None:
        """Forget bytes that were read."""
        if self._kept:
            del self._kept[:size]
        else:
            self._fed = self._fed[size:]

    def _refusal(self, kind: int, size: int) -> RemoteProtocolError:
        limit = self._limits.get(kind)
        if limit is None:
            return RemoteProtocolError(f"frame type 0x{kind:02x} is not one that this peer may send")
        return RemoteProtocolError(f"frame type 0x{kind:02x}: payload of {size} bytes, at most {limit}")

    def _read_preface(self) -> None:
        source = self._kept or self._fed
        for index, (found, expected) in enumerate(zip(source, PREFACE, strict=False)):
            if found != expected:
                what = "version" if index == len(PREFACE) - 1 else f"byte {index} of the preface"
                raise RemoteProtocolError(f"{what}: got {found}, expected {expected}")
        if len(source) >= len(PREFACE):
            self._drop(len(PREFACE))
            self._preface_seen = True

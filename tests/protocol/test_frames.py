"""Frames: the header, the preface, limits before payloads, ends of streams, and linear work."""

from __future__ import annotations

import pytest

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.frames import HEADER_SIZE, PREFACE, VERSION, FrameReader, frame_header
from protocol.limits import MAX_RECEIVE_BUFFER

LIMITS = {1: 10, 2: 300_000}


def reader(data: bytes = b"") -> FrameReader:
    """A reader after the preface and some data."""
    frames = FrameReader(LIMITS)
    frames.feed(PREFACE + data)
    return frames


def test_the_header_is_the_documented_one() -> None:
    """A header has the length first, big-endian, and then the type."""
    assert frame_header(0x41, 0x01020304) == bytes([1, 2, 3, 4, 0x41])
    assert HEADER_SIZE == 5
    assert bytes([0x45, 0x45, 0x50, VERSION]) == PREFACE


def test_frames_come_out_in_order() -> None:
    """Several frames in one piece come out one by one, empty ones as well."""
    frames = reader(frame_header(1, 2) + b"ab" + frame_header(2, 0) + frame_header(1, 1) + b"c")
    assert [frames.next_frame() for _ in range(4)] == [(1, b"ab"), (2, b""), (1, b"c"), None]


@pytest.mark.parametrize("size", range(len(PREFACE)))
def test_an_incomplete_preface_is_waited_for(size: int) -> None:
    """The preface may come in pieces."""
    frames = FrameReader(LIMITS)
    frames.feed(PREFACE[:size] or PREFACE[:1])
    assert frames.next_frame() is None


@pytest.mark.parametrize("start", [b"H", b"EEQ", b"EEP\x00", b"EEP\x04", b"EEP\x06", b"GET / HTTP/1.1"])
def test_a_wrong_preface_is_refused_at_its_first_wrong_byte(start: bytes) -> None:
    """Another protocol or version is noticed without waiting for more."""
    frames = FrameReader(LIMITS)
    frames.feed(start)
    with pytest.raises(RemoteProtocolError, match=r"preface|version"):
        frames.next_frame()


@pytest.mark.parametrize(
    ("kind", "size", "legal"), [(1, 10, True), (1, 11, False), (2, 300_000, True), (2, 300_001, False)]
)
def test_the_length_is_checked_before_the_payload_is_there(kind: int, size: int, legal: bool) -> None:  # noqa: FBT001
    """A frame over the limit of its type is refused by its header alone."""
    frames = reader(frame_header(kind, size))
    if legal:
        assert frames.next_frame() is None
    else:
        with pytest.raises(RemoteProtocolError, match=f"payload of {size} bytes, at most {LIMITS[kind]}"):
            frames.next_frame()


def test_an_unknown_type_is_refused() -> None:
    """A type that the peer does not have is refused."""
    with pytest.raises(RemoteProtocolError, match="0x07"):
        reader(frame_header(7, 0)).next_frame()


@pytest.mark.parametrize("tail", [b"", b"\0", frame_header(1, 3), frame_header(1, 3) + b"ab"])
def test_the_end_of_the_stream(tail: bytes) -> None:
    """The stream may end between frames and nowhere else."""
    frames = reader(frame_header(1, 1) + b"a" + tail)
    frames.feed(b"")
    assert not frames.at_eof
    assert frames.next_frame() == (1, b"a")
    assert frames.at_eof == (not tail)
    if tail:
        with pytest.raises(RemoteProtocolError, match=f"after {len(tail)} bytes"):
            frames.next_frame()
    else:
        assert frames.next_frame() is None


@pytest.mark.parametrize("size", range(len(PREFACE) + 1))
def test_the_end_around_the_preface(size: int) -> None:
    """A stream may end before it began, or after its preface, but not within."""
    frames = FrameReader(LIMITS)
    if size:
        frames.feed(PREFACE[:size])
    frames.feed(b"")
    if size in {0, len(PREFACE)}:
        assert frames.next_frame() is None
        assert frames.at_eof
    else:
        with pytest.raises(RemoteProtocolError, match="ended"):
            frames.next_frame()


def test_nothing_comes_after_the_end() -> None:
    """Data after the end is a mistake of the caller; a second end is none."""
    frames = reader()
    frames.feed(b"")
    frames.feed(b"")
    with pytest.raises(LocalProtocolError, match="after the end"):
        frames.feed(b"x")


def test_the_buffer_is_bounded() -> None:
    """A caller that does not read its messages is stopped, and goes on after reading them."""
    frame = frame_header(2, 1000) + bytes(1000)
    frames = FrameReader(LIMITS)
    frames.feed((PREFACE + frame).ljust(MAX_RECEIVE_BUFFER, b"\0"))
    with pytest.raises(LocalProtocolError, match="receive buffer"):
        frames.feed(b"x")
    assert frames.next_frame() == (2, bytes(1000))
    frames.feed(bytes(len(PREFACE + frame)))
    with pytest.raises(LocalProtocolError, match="receive buffer"):
        frames.feed(b"x")


def test_what_was_fed_may_change_once_it_is_kept() -> None:
    """Until then it is not copied; frames that were cut out are copies, whatever happens to it."""
    frames = reader()
    memory = bytearray(frame_header(2, 3) + b"one" + frame_header(2, 3) + b"tw")
    frames.feed(memoryview(memory))
    first = frames.next_frame()
    frames.keep()
    memory[:] = bytes(len(memory))
    frames.feed(b"o")
    assert [first, frames.next_frame()] == [(2, b"one"), (2, b"two")]
    assert not frames.holds_bytes


def test_single_bytes_cost_no_more_than_linear_work() -> None:
    """A frame that comes byte by byte is not copied for every byte; squared, this would run into the time-out."""
    frames = reader()
    for byte in frame_header(2, 300_000) + bytes(300_000):
        assert frames.next_frame() is None
        frames.feed(bytes([byte]))
    assert frames.next_frame() == (2, bytes(300_000))

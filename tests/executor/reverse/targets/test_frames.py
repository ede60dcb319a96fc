"""Streams with the length in front, however they come cut."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from executor.reverse.targets.frames import FrameError, FrameReader
from tests.stand_ins.dify import frame

LIMIT = 64


def read(pieces: list[bytes], limit: int = LIMIT) -> tuple[list[bytes], str | None]:
    """Read a whole stream: its parts, and what is wrong with it."""
    reader = FrameReader(limit)
    parts: list[bytes] = []
    try:
        for piece in pieces:
            parts.extend(reader.feed(piece))
        reader.close()
    except FrameError as error:
        return parts, str(error)
    return parts, None


@given(parts=st.lists(st.binary(max_size=LIMIT)), data=st.data())
def test_any_cut_gives_the_same_parts(parts: list[bytes], data: st.DataObject) -> None:
    """Parts come as they were sent."""
    stream = b"".join(map(frame, parts))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(pieces) == (parts, None)


@given(
    stream=st.one_of(
        st.binary(max_size=100),
        st.builds(
            lambda parts, tail: b"".join(map(frame, parts)) + tail,
            st.lists(st.binary(max_size=20), max_size=4),
            st.binary(max_size=20),
        ),
    ),
    size=st.integers(1, 40),
)
@example(b"\x0f\0\x0a\0\xff\xff\xff\xff", 1)
def test_garbage_gives_the_same_error_however_it_is_cut(stream: bytes, size: int) -> None:
    """Nothing but `FrameError`, with the same text, after the same parts."""
    assert read([stream[start : start + size] for start in range(0, len(stream), size)]) == read([stream])


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (b"{}", "a part begins with 0x7b, not with 0x0f"),
        (struct.pack("<BBHI6x", 15, 0, 12, 1) + b"x", "the header of a part has 12 bytes, not 10"),
        (struct.pack("<BBHI6x", 15, 0, 10, 65), "a part has 65 bytes, more than the 64 that are allowed"),
        (struct.pack("<BBHI6x", 15, 0, 10, 2), "the stream ends in the middle of a part"),
        (struct.pack("<BBH", 15, 0, 10), "the stream ends in the middle of a part"),
    ],
)
def test_what_is_wrong_is_told(stream: bytes, text: str) -> None:
    """With the numbers; parts before it are given."""
    assert read([frame(b"one"), stream]) == ([b"one"], text)


def test_nothing_is_kept_for_a_length_that_is_only_announced() -> None:
    """The buffer holds what has come, no more, up to the limit."""
    reader = FrameReader(2**32 - 1)
    assert list(reader.feed(struct.pack("<BBHI6x", 15, 0, 10, 2**32 - 1) + b"abc")) == []
    assert reader._buffer.__alloc__() < 1000

"""Streams of lines, however they come cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.reverse.targets.lines import LineReader, LongLineError

LIMIT = 32


def read(pieces: list[bytes]) -> tuple[list[bytes], str | None]:
    """Read a whole stream: its lines, and what is wrong with it."""
    reader = LineReader(LIMIT)
    lines: list[bytes] = []
    try:
        for piece in pieces:
            lines.extend(reader.feed(piece))
        lines.extend(reader.close())
    except LongLineError as error:
        return lines, str(error)
    return lines, None


STREAMS = st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"\n", b"\r\n", b"\n\n"])), max_size=12)


@given(parts=STREAMS, size=st.integers(1, 40))
def test_any_cut_gives_the_same_lines(parts: list[bytes], size: int) -> None:
    """And the same error, at the same line."""
    stream = b"".join(parts)
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert read(pieces) == read([stream])


@given(st.lists(st.binary(min_size=1, max_size=LIMIT - 1).filter(lambda line: b"\n" not in line and b"\r" not in line)))
def test_lines_come_as_they_were_sent(lines: list[bytes]) -> None:
    """With either end, and without empty ones between them; the last one may lack its end."""
    assert read([b"\n".join(lines)]) == (lines, None)
    assert read([b"\r\n\r\n".join([*lines, b""])])[0] == lines


@pytest.mark.parametrize("stream", [[b"x" * 33], [b"x" * 20, b"x" * 13], [b"x" * 33 + b"\n"]])
def test_long_lines_are_refused(stream: list[bytes]) -> None:
    """Also before their end has come."""
    lines, error = read([b"one\n", *stream])
    assert lines == [b"one"]
    assert error == "a line has more than the 32 bytes that are allowed"

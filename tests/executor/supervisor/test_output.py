"""An endpoint's output as records: lines, limits, floods."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from executor.supervisor.output import FLOOD_FACTOR, LogRecord, OutputLog
from protocol.messages import Log


class Collected:
    """An output log and what it gave."""

    def __init__(self, limit: int = 100_000, line: int = 1000) -> None:
        self.records: list[LogRecord] = []
        self.floods = 0
        self.log = OutputLog(limit_bytes=limit, line_bytes=line, emit=self.records.append, flooded=self._flood)

    def _flood(self) -> None:
        self.floods += 1

    @property
    def messages(self) -> list[str]:
        """The texts."""
        return [record.message for record in self.records]


@given(
    st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=20), max_size=20),
    st.data(),
)
def test_lines_come_out_as_they_went_in(lines: list[str], data: st.DataObject) -> None:
    """However the bytes are cut into reads."""
    stream = "".join(line + "\n" for line in lines).encode()
    collected = Collected()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        collected.log.feed("stdout", stream[:size])
        stream = stream[size:]
    collected.log.close()
    assert collected.messages == lines


def test_streams_do_not_mix() -> None:
    """Half a line of one waits while the other goes on."""
    collected = Collected()
    collected.log.feed("stdout", b"out")
    collected.log.feed("stderr", b"err\n")
    collected.log.feed("stdout", b"put\n")
    assert [(record.source, record.message, record.level) for record in collected.records] == [
        ("stderr", "err", "warning"),
        ("stdout", "output", "info"),
    ]


def test_bytes_that_are_no_text() -> None:
    """Are shown as escapes."""
    collected = Collected()
    collected.log.feed("stdout", b"\xff\n")
    assert collected.messages == ["\\xff"]


def test_long_lines_are_cut() -> None:
    """With a note of how much; a line without an end is not collected for ever."""
    collected = Collected(line=100)
    collected.log.feed("stdout", b"x" * 150 + b"\n")
    assert collected.messages[0] == "x" * 100 + " ... (50 characters cut)"
    for _ in range(10):
        collected.log.feed("stdout", b"y" * 60)
    assert len(collected.messages) > 3


def test_sdk_lines() -> None:
    """Are records of their own level; what only looks like one is an ordinary line."""
    collected = Collected()
    good = {"event": "log", "data": {"level": "ERROR", "message": "m", "timestamp": 2.5}}
    for line in (json.dumps(good), '{"event": "log", "data": 3}', '{"event": ', '"event"' + "[" * 900):
        collected.log.feed("stdout", line.encode() + b"\n")
    assert collected.records[0] == LogRecord(2.5, "error", "sdk", "m")
    assert [record.source for record in collected.records[1:]] == ["stdout"] * 3


def test_output_over_the_limit_is_counted_and_dropped() -> None:
    """And said at the end."""
    collected = Collected(limit=1000)
    for _ in range(30):
        collected.log.feed("stdout", b"z" * 199 + b"\n")
    collected.log.add_message(Log(time=1.0, level="info", logger="l", message="late"))
    collected.log.close()
    assert len(collected.messages) < 8
    assert "dropped" in collected.messages[-1]
    assert collected.log.dropped_bytes > 4000
    assert collected.floods == 0


def test_a_flood_is_told_once() -> None:
    """Whether of large lines, of bytes without lines, or of tiny messages."""
    for feed in (b"z" * 999 + b"\n", b"z" * 1000, b"\n" * 1000):
        collected = Collected(limit=1000)
        for _ in range(FLOOD_FACTOR + 5):
            collected.log.feed("stdout", feed)
        assert collected.floods == 1

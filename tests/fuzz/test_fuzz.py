"""A short run of the fuzz target, so that it cannot rot; `make fuzz` is the long one."""

from __future__ import annotations

import pytest

from protocol import connection
from protocol.codec import TYPES
from protocol.control import CONTROL_TYPES
from protocol.frames import PREFACE
from protocol.states import Role
from tests.fuzz.fuzz_connection import (
    CONTROL,
    FOR_WORKER,
    NO_STREAM,
    WITH_PREFACE,
    Mutator,
    check,
    fuzz_plainly,
    seeds,
    split_frames,
)


def test_the_seeds_get_through() -> None:
    """Every stream of the corpus is an input, and most hold messages."""
    counts = [check(data) for data in seeds()]
    assert len(counts) > 100
    assert sum(count > 0 for count in counts) > len(counts) // 4


def test_every_message_is_among_the_seeds() -> None:
    """Each type byte of either sender, and of a control datagram, comes out of the corpus whole."""
    datagrams = {data[3] for data in seeds() if data[0] & CONTROL and check(data)}
    assert datagrams == set(CONTROL_TYPES)
    streams = [data for data in seeds() if not data[0] & NO_STREAM]
    for role, sender in ((0, Role.WORKER), (FOR_WORKER, Role.SUPERVISOR)):
        whole = {
            frame[4]
            for data in streams
            if data[0] & FOR_WORKER == role
            for frame in split_frames(data[2:])[: check(data)]
        }
        assert whole == set(TYPES[sender])


def test_small_inputs() -> None:
    """The shortest inputs, for either role."""
    for flags in range(4):
        for size in range(len(PREFACE) + 1):
            assert check(bytes([flags, 1]) + PREFACE[:size]) == 0
        assert check(bytes([CONTROL | flags, 1])) == 0
    assert check(b"") == check(b"\0") == check(bytes([FOR_WORKER | WITH_PREFACE])) == 0


def test_the_same_seed_gives_the_same_inputs() -> None:
    """A finding can be repeated."""
    first, second = Mutator(1), Mutator(1)
    assert [first.next_input() for _ in range(20)] == [second.next_input() for _ in range(20)]


def test_a_short_run_finds_nothing() -> None:
    """One second of mutations, most of which still hold messages."""
    inputs, messages = fuzz_plainly(1.0, seed=20)
    assert inputs > 50
    assert messages > inputs // 4


def test_a_finding_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An exception of another class is not swallowed, and the input that caused it is printed."""

    def decode_wrongly(*_arguments: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(connection, "decode_message", decode_wrongly)
    with pytest.raises(KeyError, match="bug"):
        fuzz_plainly(5.0, seed=1)
    assert "of seed 1: 0" in capsys.readouterr().err

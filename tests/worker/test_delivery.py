"""Births side by side: one that hangs holds up nobody, and whoever is not born is told of."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from protocol import Exited, Forked, ForkFailed, ForkSlot, Kill
from tests.worker.driver import BaseZygote, SlotDriver, ZygoteDriver
from tests.worker.forked import in_child
from worker import delivery as delivery_module
from worker.delivery import BirthError, Deliveries, Delivery, wait_readable


@pytest.fixture
def zygote(own_base: BaseZygote) -> Iterator[ZygoteDriver]:
    """That of a plugin without files."""
    child = own_base.fork_zygote()
    child.wait_ready()
    yield child
    child.close()
    own_base.report(Exited, child.id)


@contextmanager
def hanging(zygote: ZygoteDriver, slot_id: int) -> Iterator[tuple[SlotDriver, int]]:
    """A slot that hangs while it joins a control group, which is a full pipe; and the pipe's other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    down, up = os.pipe2(os.O_NONBLOCK)
    try:
        while os.write(up, bytes(4096)):
            pass
    except BlockingIOError:
        os.set_blocking(up, True)
    slot = SlotDriver(ours, slot_id)
    with theirs:
        message = ForkSlot(slot_id=slot_id, name="hangs", number=slot_id, off=())
        zygote.command(message, [theirs.fileno(), up])
    os.close(up)
    try:
        yield slot, down
    finally:
        os.close(down)
        slot.close()


def test_others_are_born_meanwhile(zygote: ZygoteDriver) -> None:
    """And the one that hung is born as soon as it can be."""
    with hanging(zygote, 101) as (slot, down):
        zygote.fork_slot().close()
        os.set_blocking(down, True)
        while os.read(down, 65536) != b"0":
            pass
        zygote.report(Forked, 101)
        slot.wait_ready()


def test_a_birth_that_is_given_up(zygote: ZygoteDriver) -> None:
    """The command to end the slot ends the birth; nothing of it is left."""
    with hanging(zygote, 101):
        zygote.fork_slot().close()
        before = len(psutil.Process(zygote.pid).children(recursive=True))
        zygote.command(Kill(worker_id=101))
        assert zygote.report(ForkFailed, 101).message == "pid_namespace: no answer"
        assert len(psutil.Process(zygote.pid).children(recursive=True)) < before
        zygote.fork_slot().close()


def test_an_identifier_that_is_being_born(zygote: ZygoteDriver) -> None:
    """It is in use."""
    with hanging(zygote, 101), hanging(zygote, 101) as (second, _):
        assert second.control.recv(1) == b""
        zygote.fork_slot().close()


def test_the_end_of_a_zygote_ends_births(own_base: BaseZygote) -> None:
    """Nobody waits for them."""
    zygote = own_base.fork_zygote()
    zygote.wait_ready()
    with hanging(zygote, 101):
        zygote.fork_slot().close()
        zygote.close()
        own_base.report(Exited, zygote.id)


def played(be: Callable[[int], None]) -> tuple[Deliveries, list[object], dict[int, Callable[[], None]]]:
    """One birth, number 7, whose midwife runs a function; what comes of it; what is watched."""
    told: list[object] = []
    watched: dict[int, Callable[[], None]] = {}

    def failed(child_id: int, error: BirthError) -> None:
        told.append([child_id, str(error), error.errno])

    births = Deliveries(watched.__setitem__, watched.__delitem__, lambda *born: told.append([*born]), failed)
    down, up = os.pipe()
    midwife = os.fork()
    if midwife == 0:
        be(up)
        os._exit(0)
    os.close(up)
    births.add(7, Delivery(midwife, down))
    return births, told, watched


def test_reports() -> None:
    """A number is a birth; anything else is a failure, also nothing, and ends the midwife."""

    def run(report: bytes) -> list[object]:
        def be(up: int) -> None:
            os.write(up, report)
            os.close(up)
            signal.pause()

        births, told, watched = played(be)
        ((descriptor, handle),) = watched.items()
        wait_readable(descriptor)
        handle()
        for child in psutil.Process().children():
            child.kill()
        return [told, watched, len(births), births.left_ms()]

    assert in_child(lambda: run(b"23")) == [[[7, 23]], {}, 0, None]
    assert in_child(lambda: run(b"16 layer: busy")) == [[[7, "layer: busy", 16]], {}, 0, None]
    assert in_child(lambda: run(b"")) == [[[7, "pid_namespace: no answer", 0]], {}, 0, None]


def test_midwife_that_has_ended() -> None:
    """Whatever she had said counts, and nobody signals a number that may be another process's by now."""

    def run(report: bytes) -> list[object]:
        def be(up: int) -> None:
            os.write(up, report)

        births, told, watched = played(be)
        pid, _ = os.wait()
        births.on_ended(pid + 1)
        assert len(births) == 1
        births.on_ended(pid)
        return [told, watched]

    assert in_child(lambda: run(b"23")) == [[[7, 23]], {}]
    assert in_child(lambda: run(b"")) == [[[7, "pid_namespace: no answer", 0]], {}]


def test_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A midwife who says nothing for too long is ended; one who has time left is not."""

    def run(time_ms: int) -> list[object]:
        monkeypatch.setattr(delivery_module, "BIRTH_TIME_MS", time_ms)
        births, told, _ = played(lambda _: signal.pause())
        left = births.left_ms()
        assert left is not None
        assert left <= time_ms
        births.finish_overdue()
        births.end_all()
        return [told, len(births)]

    assert in_child(lambda: run(0)) == [[[7, "pid_namespace: no answer", 0]], 0]
    assert in_child(lambda: run(60_000)) == [[], 0]

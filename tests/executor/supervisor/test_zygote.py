"""The supervisor's end of control sockets, with zygotes and slots that the test plays by hand."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Generic, TypeVar

import psutil
import pytest
from structlog.testing import capture_logs

from executor.supervisor.control import ControlClient, ParentLostError
from executor.supervisor.worker import describe_exit
from executor.supervisor.zygote import SlotClient, WorkerTask, Zygote, start_base_zygote
from protocol.control import (
    ControlMessage,
    Exited,
    Forked,
    ForkFailed,
    ForkSlot,
    ForkWorker,
    ForkZygote,
    Kill,
    PrepareWorker,
    Shutdown,
    SlotReady,
    ZygoteReady,
    decode_control,
    encode_control,
)
from protocol.limits import MAX_CONTROL

TASK = WorkerTask(("main.py",), {"processes": 3})
COMMAND = ForkZygote(
    zygote_id=0,
    name="inner",
    preload=(),
    imports=(),
    sys_path=(),
    plugin_root="",
    environment="",
    trees=(),
    first_id=0,
    ids=0,
    off=(),
)
EXITED = Exited(
    id=1, status=9, utime_s=0.5, stime_s=0.25, max_rss_bytes=1, minor_faults=2, major_faults=3, killed_descendants=0
)

C = TypeVar("C", bound=ControlClient)


class Played(Generic[C]):
    """The far end of a control socket."""

    def __init__(self, kind: type[C], loop: asyncio.AbstractEventLoop) -> None:
        ours, self.control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.setblocking(False)
        self.client = kind("played", ours, loop)

    def take(self) -> ControlMessage:
        """Take a command, and drop its descriptors."""
        data, descriptors, _, _ = socket.recv_fds(self.control, MAX_CONTROL, 16)
        for descriptor in descriptors:
            os.close(descriptor)
        return decode_control(data)

    def say(self, report: ControlMessage) -> None:
        """Send a report."""
        self.control.send(encode_control(report))


def play(kind: type[C], test: Callable[[Played[C]], Awaitable[None]]) -> None:
    """Run a test against a fresh zygote or slot, and look for what it leaves."""

    async def run() -> None:
        before = psutil.Process().num_fds()
        played = Played(kind, asyncio.get_running_loop())
        try:
            async with asyncio.timeout(240):
                await test(played)
        finally:
            played.client.close()
            played.control.close()
        assert psutil.Process().num_fds() == before

    asyncio.run(run())


def test_a_fork_that_fails_says_why() -> None:
    """The child has ended without a report; the reason is kept for the operator."""

    async def test(slot: Played[SlotClient]) -> None:
        child = slot.client.fork_worker(TASK, os.pipe())
        assert slot.take() == PrepareWorker(sources=TASK.sources, limits=TASK.limits, debug=False)
        assert slot.take() == ForkWorker(child.id)
        slot.say(ForkFailed(id=child.id, errno=11, message="Resource temporarily unavailable"))
        assert await child.exited is None
        assert describe_exit(None, child.failure) == "not forked: Resource temporarily unavailable"
        assert slot.client.alive
        assert slot.client._children == {}

    play(SlotClient, test)


def test_a_slot_is_told_once_what_its_workers_are_for() -> None:
    """And again when that changes, or when it could not be done."""

    async def test(slot: Played[SlotClient]) -> None:
        other = replace(TASK, debug=True)
        for task, told in ((TASK, True), (TASK, False), (other, True)):
            child = slot.client.fork_worker(task, os.pipe())
            if told:
                assert slot.take() == PrepareWorker(sources=task.sources, limits=task.limits, debug=task.debug)
            assert slot.take() == ForkWorker(child.id)
        child = slot.client.fork_worker(other, os.pipe())
        assert slot.take() == ForkWorker(child.id)
        slot.say(ForkFailed(id=child.id, errno=12, message="Cannot allocate memory"))
        assert await child.exited is None
        slot.client.fork_worker(other, os.pipe())
        assert isinstance(slot.take(), PrepareWorker)

    play(SlotClient, test)


def test_process_ids_are_those_of_our_own_table() -> None:
    """They come as credentials; the kernel attaches those of the sender unless it names another process."""

    async def test(slot: Played[SlotClient]) -> None:
        slot.say(SlotReady(report={"reusable": True}))
        assert await slot.client.wait_ready(60) == {"reusable": True}
        assert slot.client.pid == os.getpid()
        child = slot.client.fork_worker(TASK, os.pipe())
        slot.take()
        told = [asyncio.ensure_future(child.wait_forked(60)) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(one.done() for one in told)
        slot.say(Forked(id=child.id))
        await asyncio.gather(*told)
        assert child.pid == os.getpid()
        await child.wait_forked(0)

    play(SlotClient, test)


def test_nobody_waits_for_the_birth_of_what_has_ended() -> None:
    """Nor for longer than told."""

    async def test(slot: Played[SlotClient]) -> None:
        child = slot.client.fork_worker(TASK, os.pipe())
        await child.wait_forked(0)
        waiting = asyncio.ensure_future(child.wait_forked(60))
        await asyncio.sleep(0)
        slot.control.close()
        await waiting
        assert (child.pid, child.forked_at) == (None, None)

    play(SlotClient, test)


def test_what_cannot_work_says_why_before_it_ends() -> None:
    """The reason names the layer of isolation, so that a remedy can be found."""

    async def test(zygote: Played[Zygote]) -> None:
        zygote.say(ForkFailed(id=7, errno=1, message="mount_namespace: Operation not permitted"))
        zygote.control.close()
        with pytest.raises(ParentLostError, match="zygote played: mount_namespace: Operation not permitted"):
            await zygote.client.wait_ready(60)

    play(Zygote, test)


def test_one_that_is_retired_ends_with_its_last_child() -> None:
    """At once, where it has none."""

    async def test(zygote: Played[Zygote]) -> None:
        zygote.client.fork_slot("slot", 0, groups=(), off=())
        child, slot = zygote.client.fork_slot("slot", 1, groups=(), off=())
        for number in (1, 2):
            assert zygote.take() == ForkSlot(slot_id=number, name="slot", number=number - 1, off=())
        zygote.client.retire()
        zygote.say(replace(EXITED, id=1))
        zygote.say(Forked(id=2))
        while (child.forked_at, zygote.client.alive) == (None, True):  # noqa: ASYNC110 - reports are read in order
            await asyncio.sleep(0)
        assert zygote.client.alive
        zygote.say(replace(EXITED, id=2))
        await zygote.client.lost
        while zygote.take() != Shutdown():  # before it, the slots may have been killed: their sockets have ended
            pass
        await slot.lost
        idle = Played(Zygote, asyncio.get_running_loop())
        idle.client.retire()
        assert not idle.client.alive
        idle.control.close()

    with capture_logs() as logs:
        play(Zygote, test)
    assert logs == []


def test_one_that_is_retired_ends_though_its_last_child_was_never_forked() -> None:
    """There is nothing left that could end."""

    async def test(zygote: Played[Zygote]) -> None:
        child, slot = zygote.client.fork_slot("slot", 0, groups=(), off=())
        zygote.client.retire()
        assert zygote.client.alive
        zygote.say(ForkFailed(id=child.id, errno=11, message="Resource temporarily unavailable"))
        async with asyncio.timeout(60):
            await zygote.client.lost
            await slot.lost

    play(Zygote, test)


def test_what_was_reported_before_the_end_is_read() -> None:
    """Also when a command meets the end first, as where the kernel kills a worker with its slot: that is no error."""

    async def test(slot: Played[SlotClient]) -> None:
        child = slot.client.fork_worker(TASK, os.pipe())
        slot.take()
        slot.say(EXITED)
        slot.control.close()
        slot.client.kill(child)
        other = slot.client.fork_worker(TASK, os.pipe())
        assert await child.exited == EXITED
        assert await other.exited is None
        assert not slot.client.alive

    with capture_logs() as logs:
        play(SlotClient, test)
    assert logs == []


def test_what_could_not_be_forked_is_not_waited_for() -> None:
    """A zygote that the base zygote could not fork is lost at once, with the reason."""

    async def test(base: Played[Zygote]) -> None:
        child, zygote = base.client.fork_zygote(COMMAND)
        base.take()
        base.say(ForkFailed(id=child.id, errno=28, message="user_namespace: No space left on device"))
        with pytest.raises(ParentLostError, match="zygote inner: not forked: user_namespace: No space"):
            await zygote.wait_ready(60)

    play(Zygote, test)


def test_a_report_comes_from_below_only() -> None:
    """Commands, garbage and reports that cannot be end the conversation."""

    async def test(zygote: Played[Zygote]) -> None:
        zygote.say(ZygoteReady(report={}))
        await zygote.client.wait_ready(60)
        zygote.say(Kill(worker_id=1))
        await zygote.client.lost

    play(Zygote, test)


def test_a_lost_zygote_or_slot_is_killed_by_its_parent() -> None:
    """It would end by itself, if it still worked."""

    async def test(base: Played[Zygote]) -> None:
        child, inner = base.client.fork_zygote(COMMAND)
        command = base.take()
        assert isinstance(command, ForkZygote)
        assert (command.zygote_id, command.name) == (child.id, "inner")
        inner.close()
        await asyncio.sleep(0)
        assert base.take() == Kill(worker_id=child.id)
        child, slot = base.client.fork_slot("inner", 3, groups=(), off=("landlock",))
        assert base.take() == ForkSlot(child.id, "inner", 3, ("landlock",))
        slot.close()
        await asyncio.sleep(0)
        assert base.take() == Kill(worker_id=child.id)

    play(Zygote, test)


@pytest.mark.parametrize("target", ["subprocess.Popen", "socket.socketpair"])
def test_a_base_zygote_that_cannot_be_started_leaves_nothing(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """No descriptors, no memory, no processes: the caller hears of it."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("too many")

    async def test() -> None:
        before = psutil.Process().num_fds()
        with monkeypatch.context() as patch:
            patch.setattr(target, fail)
            with pytest.raises(OSError, match="too many"):
                start_base_zygote(asyncio.get_running_loop(), ())
        assert psutil.Process().num_fds() == before

    asyncio.run(test())


def test_what_is_lost_takes_no_commands() -> None:
    """And closes the descriptors that it was to get."""

    async def lost_slot(slot: Played[SlotClient]) -> None:
        slot.client.close()
        with pytest.raises(ParentLostError):
            slot.client.fork_worker(TASK, os.pipe())

    async def lost_zygote(zygote: Played[Zygote]) -> None:
        zygote.client.close()
        with pytest.raises(ParentLostError):
            zygote.client.fork_zygote(COMMAND)
        with pytest.raises(ParentLostError):
            zygote.client.fork_slot("n", 0, groups=os.pipe(), off=())

    play(SlotClient, lost_slot)
    play(Zygote, lost_zygote)

"""The supervisor's end of a control socket, with a zygote that the test plays by hand."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

import psutil
import pytest

from executor.supervisor.worker import describe_exit
from executor.supervisor.zygote import Zygote, ZygoteLostError, start_base_zygote
from protocol.control import ControlMessage, Forked, ForkFailed, ForkWorker, Kill, decode_control, encode_control
from protocol.limits import MAX_CONTROL


class PlayedZygote:
    """The zygote's end of the socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        ours, self.control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.setblocking(False)
        self.client = Zygote("played", ours, loop)

    def take(self) -> ControlMessage:
        """Take a command, and drop its descriptors."""
        data, descriptors, _, _ = socket.recv_fds(self.control, MAX_CONTROL, 16)
        for descriptor in descriptors:
            os.close(descriptor)
        return decode_control(data)

    def say(self, report: ControlMessage) -> None:
        """Send a report."""
        self.control.send(encode_control(report))


def play(test: Callable[[PlayedZygote], Awaitable[None]]) -> None:
    """Run a test against a fresh zygote, and look for what it leaves."""

    async def run() -> None:
        before = psutil.Process().num_fds()
        zygote = PlayedZygote(asyncio.get_running_loop())
        try:
            async with asyncio.timeout(20):
                await test(zygote)
        finally:
            zygote.client.close()
            zygote.control.close()
        assert psutil.Process().num_fds() == before

    asyncio.run(run())


def test_a_fork_that_fails_says_why() -> None:
    """The child has ended without a report; the reason is kept for the operator."""

    async def test(zygote: PlayedZygote) -> None:
        child = zygote.client.fork_worker(os.pipe())
        assert zygote.take() == ForkWorker(worker_id=child.id)
        zygote.say(ForkFailed(id=child.id, errno=11, message="Resource temporarily unavailable"))
        assert await child.exited is None
        assert describe_exit(None, child.failure) == "not forked: Resource temporarily unavailable"
        assert zygote.client.alive
        assert zygote.client._children == {}

    play(test)


def test_a_zygote_that_does_not_even_fork_is_given_up() -> None:
    """It, and with it all its children, are lost; the next invocation gets a new one."""

    async def test(zygote: PlayedZygote) -> None:
        silent, other = (zygote.client.fork_worker(os.pipe()) for _ in range(2))
        zygote.client.give_up(silent)
        assert await silent.exited is None
        assert await other.exited is None
        assert not zygote.client.alive

    play(test)


def test_a_process_that_cannot_be_ended_does_not_cost_the_zygote() -> None:
    """Other invocations go on."""

    async def test(zygote: PlayedZygote) -> None:
        stuck, other = (zygote.client.fork_worker(os.pipe()) for _ in range(2))
        for child, pid in ((stuck, 11), (other, 12)):
            zygote.take()
            zygote.say(Forked(id=child.id, pid=pid))
        for _ in range(10):
            await asyncio.sleep(0)
        assert (stuck.pid, other.pid) == (11, 12)
        zygote.client.give_up(stuck)
        assert await stuck.exited is None
        assert zygote.client.alive
        assert not other.exited.done()

    play(test)


def test_a_lost_zygote_is_killed_by_its_parent() -> None:
    """It would end by itself, if it still worked."""

    async def test(zygote: PlayedZygote) -> None:
        child, inner = zygote.client.fork_zygote("inner", preload=(), sys_path=())
        zygote.take()
        inner.close()
        await asyncio.sleep(0)
        assert zygote.take() == Kill(worker_id=child.id)

    play(test)


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
                start_base_zygote(asyncio.get_running_loop())
        assert psutil.Process().num_fds() == before

    asyncio.run(test())


def test_a_lost_zygote_takes_no_commands() -> None:
    """And closes the descriptors that it was to get."""

    async def test(zygote: PlayedZygote) -> None:
        zygote.client.close()
        with pytest.raises(ZygoteLostError):
            zygote.client.fork_worker(os.pipe())
        with pytest.raises(ZygoteLostError):
            zygote.client.fork_zygote("n", preload=(), sys_path=())

    play(test)

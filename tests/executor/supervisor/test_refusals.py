"""What the kernel refuses now and then, in the middle of things: whoever waits is told, and nothing stays open."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import cast

import psutil
import pytest
from structlog.testing import capture_logs

from executor.config.isolation import Isolation
from executor.isolation.host import HostIsolation
from executor.supervisor import confinement
from executor.supervisor.confinement import Confinement
from executor.supervisor.plugin_zygote import PluginZygote
from executor.supervisor.readiness import Readiness
from executor.supervisor.ready_worker import StartError
from executor.supervisor.runtime import PluginRuntime
from executor.supervisor.zygote import Zygote
from tests.executor.supervisor.test_runtime import serve_one, start, with_runtime

REFUSALS = (errno.ENOBUFS, errno.ETOOMANYREFS)
"""What sendmsg(2) may say of a socket that is well: no memory, or too many descriptors of the user are under way."""


@pytest.mark.parametrize("number", REFUSALS)
@pytest.mark.parametrize("sent", [0, 1])
def test_a_command_that_cannot_be_sent(sent: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what a worker is for, nor that it is to be forked: the slot is given up, and the pipes are closed."""
    send = socket.send_fds

    async def test(runtime: PluginRuntime) -> None:
        await serve_one(runtime)
        runtime.slots.end_idle()
        slot = await runtime.slots.acquire()
        runtime.slots.release(slot)
        left = sent

        def refuse(sock: socket.socket, *arguments: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(number, os.strerror(number))
            return send(sock, *arguments)  # type: ignore[arg-type]  # as given

        with monkeypatch.context() as patch, capture_logs():
            patch.setattr(socket, "send_fds", refuse)
            async with asyncio.timeout(60):
                with pytest.raises(StartError, match="lost with its slot"):
                    await start(runtime)
        await serve_one(runtime)

    with_runtime(test)


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_the_slot_of_a_worker_whose_pipes_cannot_be_waited_for(failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not given to the next request, which would find the worker still in it."""
    watch = Readiness.watch

    async def test(runtime: PluginRuntime) -> None:
        await serve_one(runtime)
        left = failing

        def refuse(self: Readiness, descriptor: int, function: Callable[[], object]) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(errno.ENOSPC, "no more watches")
            watch(self, descriptor, function)

        with monkeypatch.context() as patch:
            patch.setattr(Readiness, "watch", refuse)
            with pytest.raises(StartError, match="no more watches"):
                await start(runtime)
            await serve_one(runtime)

    with_runtime(test)


def test_a_zygote_whose_output_cannot_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of its control group, which are open by then, do not stay open."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    async def test() -> None:
        host = HostIsolation(Isolation())
        before = psutil.Process().num_fds()
        monkeypatch.setattr(confinement, "ZygoteOutput", refuse)
        with pytest.raises(OSError, match="too many open files"):
            Confinement({"plugin": "played"}, host, asyncio.get_running_loop(), lambda: None)
        assert psutil.Process().num_fds() == before
        host.close()

    asyncio.run(test())


class FullZygote:
    """A zygote that cannot be sent a file, for there are no descriptors left."""

    alive = True
    retired = False
    provisional = False

    def store_bytecode(self, _archive: int) -> None:
        """Fail."""
        raise OSError(errno.EMFILE, "too many open files")

    def retire(self) -> None:
        """End with the last child."""
        self.retired = True

    def close(self) -> None:
        """End."""
        self.alive = False


def test_a_zygote_that_cannot_be_given_byte_code() -> None:
    """Its workers compile for themselves; the one before it is retired all the same."""

    async def test() -> None:
        zygotes = [FullZygote(), FullZygote()]
        made = iter(zygotes)
        zygotes[0].provisional = True
        replaced: list[bool] = []

        async def fork() -> Zygote:
            return cast("Zygote", next(made))

        zygote = PluginZygote("played", fork, lambda: replaced.append(True))
        zygote.store_bytecode(os.memfd_create("bytecode"))
        await zygote.obtain()
        await zygote.wait_settled()
        assert (zygotes[0].retired, replaced) == (True, [True])
        zygote.close()

    asyncio.run(test())

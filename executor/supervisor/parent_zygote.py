"""What zygotes have in common that others come from: shared, started when they are needed, ended when they are not."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from executor.isolation.host import HostIsolation
from executor.supervisor.confinement import Confinement
from executor.supervisor.control import Child, ParentLostError, close_all
from executor.supervisor.zygote import Zygote
from protocol.control import ForkZygote

__all__ = ["ZYGOTE_READY_TIME_S", "ParentZygote", "wait_started"]

log = structlog.get_logger("executor.runtime")

ZYGOTE_READY_TIME_S: Final = 60.0
"""Longest start of a zygote: importing a large SDK on a busy machine takes seconds."""


class ParentZygote(ABC):
    """A zygote that forks others, of which there is one as long as somebody needs it.

    Args:
        loop: The supervisor's event loop.
        host: What workers are isolated with.
        idle_s: How long it is kept although nothing that was forked from it is there; `None` for always.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, host: HostIsolation, idle_s: float | None) -> None:
        self._loop = loop
        self._host = host
        self._idle_s = idle_s
        self._zygote: Zygote | None = None
        self._releasing: set[asyncio.Task[None]] = set()
        self._users = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def fork(self, command: ForkZygote) -> Zygote:
        """Fork a zygote and wait until it is ready.

        Raises:
            ParentLostError: It, or this one, did not become ready.
            OSError: No descriptors, memory or processes left.
        """
        self._begin_use()
        child: Child | None = None
        try:
            parent = await self._wait_ready()
            child, zygote = self._fork(parent, command)
        finally:
            if child is None:
                self._end_use()
        try:
            await zygote.wait_ready(ZYGOTE_READY_TIME_S)
        except BaseException:
            zygote.close()
            raise
        return zygote

    @property
    def unused(self) -> bool:
        """Whether it is not there, and nobody needs it."""
        return self._zygote is None and not self._users and not self._releasing

    def close(self) -> None:
        """End it for good, and with it every zygote that was forked from it."""
        self._closed = True
        self._let_go()

    async def wait_closed(self) -> None:
        """Wait until all is given back that zygotes had which were forked from it."""
        while self._releasing:
            await asyncio.wait(self._releasing)

    @abstractmethod
    async def _wait_ready(self) -> Zygote:
        """Return the zygote, starting it if need be.

        Raises:
            ParentLostError: It did not become ready.
            OSError: No descriptors, memory or processes left.
        """

    def _let_go(self) -> None:
        """End it; whoever needs it starts it again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def _rest(self) -> None:
        """Let it go, as nobody has needed it for a while."""
        self._let_go()

    def _lend(self, command: ForkZygote) -> Sequence[int]:
        """Have the child be lent what it does not see; the descriptors that it gets for that."""
        del command
        return ()

    def _owner(self, command: ForkZygote) -> Mapping[str, str]:
        """Whose the child is, for its records."""
        return {"plugin": command.name}

    def _fork(self, parent: Zygote, command: ForkZygote) -> tuple[Child, Zygote]:
        confinement: Confinement | None = None
        forked: list[Zygote] = []
        descriptors = [*self._lend(command)]
        if command.environment:
            try:
                confinement = Confinement(self._owner(command), self._host, self._loop, lambda: _end_all(forked))
            except OSError:
                close_all(descriptors)
                raise
            output_fd, *groups = confinement.take_descriptors()
            descriptors = [output_fd, *descriptors, *groups]
        try:
            child, zygote = parent.fork_zygote(command, descriptors)
        except BaseException:
            self._release(confinement)
            raise
        forked.append(zygote)

        def release(_: object) -> None:
            self._release(confinement)
            self._end_use()

        child.exited.add_done_callback(release)
        return child, zygote

    def _release(self, confinement: Confinement | None) -> None:
        if confinement is not None:
            task = self._loop.create_task(confinement.end())
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)

    def _begin_use(self) -> None:
        self._users += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_use(self) -> None:
        self._users -= 1
        if not self._users and self._idle_s is not None and self._zygote is not None and not self._closed:
            self._timer = self._loop.call_later(self._idle_s, self._on_idle)

    def _on_idle(self) -> None:
        self._timer = None
        if not self._users and self._zygote is not None:
            self._rest()


async def wait_started(starting: asyncio.Task[Zygote], gone: str) -> Zygote:
    """Wait for a zygote that is started once for all who wait: the start goes on when one of them stops waiting.

    Args:
        starting: Its start.
        gone: Why it may have been cancelled.

    Raises:
        ParentLostError: It was, or the zygote did not become ready.
        OSError: No descriptors, memory or processes left.
    """
    await asyncio.wait({starting})
    if starting.cancelled():
        raise ParentLostError(gone)
    return starting.result()


def _end_all(zygotes: list[Zygote]) -> None:
    for zygote in zygotes:
        log.error("zygote.flood", zygote=zygote.name)
        zygote.close()

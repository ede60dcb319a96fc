"""The base zygotes, one for each interpreter, and through them the zygotes of plugins."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Final

import structlog

from executor.environments.environment import Environment, EnvironmentUnfitError
from executor.isolation.host import HostIsolation
from executor.supervisor.confinement import Confinement
from executor.supervisor.control import Child, ParentLostError
from executor.supervisor.readiness import Readiness
from executor.supervisor.zygote import Zygote, start_base_zygote
from protocol.control import ForkZygote

__all__ = ["BaseZygote", "ZygoteTree"]

log = structlog.get_logger("executor.runtime")

ZYGOTE_READY_TIME_S: Final = 60.0
"""Longest start of a zygote: importing a large SDK on a busy machine takes seconds."""

ZYGOTE_EXIT_TIME_S: Final = 10.0
"""Longest time for the base zygote to end all that is below it, before it is killed."""

BASE_IDLE_S: Final = 60.0
"""How long the base zygote of an environment's interpreter is kept although no zygote of a plugin comes from it."""

PRELOAD: Final = ("dify_plugin",)
"""Trusted modules that plugin zygotes import: the SDK, real or bundled."""


class ZygoteTree:
    """Base zygotes, one for each interpreter, each started on first use and again after a loss.

    Args:
        loop: The supervisor's event loop.
        host: What workers are isolated with.

    Attributes:
        readiness: Waits for the pipes of all workers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, host: HostIsolation) -> None:
        self.loop = loop
        self.host = host
        self.readiness = Readiness(loop)
        self._bases: dict[Path | None, BaseZygote] = {}

    async def fork_plugin_zygote(self, name: str, root: str, environment: Environment | None = None) -> Zygote:
        """Fork a zygote for one plugin and wait until it has done its imports.

        Args:
            name: Of the plugin.
            root: Its folder; empty for none.
            environment: What its workers import from; not given: that of the executor.

        Raises:
            ParentLostError: It, or the base zygote, did not become ready, or the environment is not fit.
            OSError: No descriptors, memory or processes left.
        """
        try:
            interpreter = environment.interpreter if environment is not None else None
        except EnvironmentUnfitError as error:
            raise ParentLostError(str(error)) from error
        base = self._bases.get(interpreter)
        if base is None:
            base = self._bases[interpreter] = BaseZygote(self.loop, self.host, interpreter)
        command = ForkZygote(
            zygote_id=0,
            name=name,
            preload=PRELOAD,
            sys_path=(),
            plugin_root=root,
            environment=str(environment.folder) if environment is not None else "",
            trees=tuple(map(str, environment.trees)) if environment is not None else (),
            first_id=self.host.first_id,
            ids=self.host.ids,
            off=self.host.off,
        )
        zygote = await base.fork(command)
        log.info("zygote.ready", plugin=name, pid=zygote.pid, environment=command.environment or None)
        return zygote

    async def close(self) -> None:
        """End the base zygotes and wait for their processes."""
        bases = [*self._bases.values()]
        self._bases.clear()
        for base in bases:
            base.close()
        for base in bases:
            await base.wait_closed()
        self.readiness.close()


class BaseZygote:
    """One base zygote, which there is as long as somebody needs it.

    Args:
        loop: The supervisor's event loop.
        host: What workers are isolated with.
        interpreter: What runs it; `None` for our own, which is kept once it was started.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, host: HostIsolation, interpreter: Path | None) -> None:
        self._loop = loop
        self._host = host
        self._interpreter = interpreter
        self._ending: set[asyncio.Task[None]] = set()
        self._zygote: Zygote | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = asyncio.Lock()
        self._users = 0
        self._timer: asyncio.TimerHandle | None = None
        self._resting: asyncio.Task[None] | None = None

    async def fork(self, command: ForkZygote) -> Zygote:
        """Fork a zygote for a plugin and wait until it is ready.

        Raises:
            ParentLostError: It, or this one, did not become ready.
            OSError: No descriptors, memory or processes left.
        """
        self._begin_use()
        child: Child | None = None
        try:
            async with self._lock:
                base = await self._wait_ready()
            child, zygote = self._fork(base, command)
        finally:
            if child is None:
                self._end_use()
        try:
            await zygote.wait_ready(ZYGOTE_READY_TIME_S)
        except BaseException:
            zygote.close()
            raise
        return zygote

    def _fork(self, base: Zygote, command: ForkZygote) -> tuple[Child, Zygote]:
        confinement: Confinement | None = None
        forked: list[Zygote] = []
        if command.environment:
            confinement = Confinement(command.name, self._host, self._loop, lambda: _end_all(forked))
        try:
            child, zygote = base.fork_zygote(command, confinement.take_descriptors() if confinement is not None else ())
        except BaseException:
            self._release(confinement)
            raise
        forked.append(zygote)

        def release(_: object) -> None:
            self._release(confinement)
            self._end_use()

        child.exited.add_done_callback(release)
        return child, zygote

    def close(self) -> None:
        """End it, and with it every zygote that was forked from it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    async def wait_closed(self) -> None:
        """Wait for the end of its process."""
        if self._resting is not None:
            await self._resting
        await self._reap()
        while self._ending:
            await asyncio.wait(self._ending)

    def _release(self, confinement: Confinement | None) -> None:
        if confinement is not None:
            task = self._loop.create_task(confinement.end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _begin_use(self) -> None:
        self._users += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_use(self) -> None:
        self._users -= 1
        if self._users == 0 and self._interpreter is not None and self._zygote is not None:
            self._timer = self._loop.call_later(BASE_IDLE_S, self._rest)

    def _rest(self) -> None:
        """Let it go when no zygote has come from it for a while; the next one starts it again."""
        self._timer = None
        if self._users == 0 and self._zygote is not None:
            log.info("zygote.rested", plugin=None, interpreter=str(self._interpreter))
            self.close()
            self._resting = self._loop.create_task(self._reap_locked())

    async def _reap_locked(self) -> None:
        async with self._lock:
            if self._zygote is None:
                await self._reap()

    async def _wait_ready(self) -> Zygote:
        if self._zygote is not None and self._zygote.alive:
            return self._zygote
        if self._zygote is not None:
            log.error("zygote.lost", zygote=self._zygote.name)
        await self._reap()
        self._zygote, self._process = start_base_zygote(self._loop, self._host.group_folders, self._interpreter)
        ready = self._zygote
        await ready.wait_ready(ZYGOTE_READY_TIME_S)
        interpreter = str(self._interpreter) if self._interpreter is not None else None
        log.info("zygote.ready", plugin=None, pid=ready.pid, interpreter=interpreter)
        return ready

    async def _reap(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            status = await asyncio.to_thread(_wait_process, process)
            log.debug("zygote.exited", zygote="base", status=status)


def _end_all(zygotes: list[Zygote]) -> None:
    for zygote in zygotes:
        log.error("zygote.flood", zygote=zygote.name)
        zygote.close()


def _wait_process(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(ZYGOTE_EXIT_TIME_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()

"""The base zygotes, one for each interpreter, and through them the zygotes of plugins."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
from pathlib import Path
from typing import Final

import structlog

from executor.environments.environment import Environment, EnvironmentUnfitError
from executor.isolation.control_groups import ControlGroup
from executor.isolation.host import HostIsolation
from executor.supervisor.control import Child, ParentLostError
from executor.supervisor.slots import remove_group
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

ZYGOTE_MEMORY_BYTES: Final = 1024**3
ZYGOTE_PROCESSES: Final = 256
ZYGOTE_CPUS: Final = 1.0
"""What the zygote of a plugin with an environment of its own may use, where there are control groups.

It imports what the plugin has chosen: 50 to 80 MB with the SDK. Slots have groups of their own.
"""

PRELOAD: Final = ("dify_plugin",)
"""Trusted modules that plugin zygotes import: the SDK, real or bundled."""


_numbers = itertools.count()


class ZygoteTree:
    """Base zygotes, one for each interpreter, each started on first use and again after a loss.

    Args:
        loop: The supervisor's event loop.
        host: What workers are isolated with.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, host: HostIsolation) -> None:
        self.loop = loop
        self.host = host
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
            group = self._create_group() if command.environment else None
            try:
                child, zygote = base.fork_zygote(command, group.open_procs() if group is not None else ())
            except BaseException:
                self._drop_group(group)
                raise
            child.exited.add_done_callback(lambda _: self._end_use(group))
            try:
                await zygote.wait_ready(ZYGOTE_READY_TIME_S)
            except BaseException:
                zygote.close()
                raise
        finally:
            if child is None:
                self._end_use(None)
        return zygote

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

    def _create_group(self) -> ControlGroup | None:
        """Make the control group of a zygote that imports what a plugin has chosen, where there are any."""
        group = self._host.create_group(f"zygote-{next(_numbers)}")
        if group is not None:
            try:
                group.apply(memory_bytes=ZYGOTE_MEMORY_BYTES, processes=ZYGOTE_PROCESSES, cpu_share=ZYGOTE_CPUS)
            except OSError:
                self._drop_group(group)
                raise
        return group

    def _drop_group(self, group: ControlGroup | None) -> None:
        if group is not None:
            task = self._loop.create_task(remove_group(group))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _begin_use(self) -> None:
        self._users += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_use(self, group: ControlGroup | None) -> None:
        self._drop_group(group)
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


def _wait_process(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(ZYGOTE_EXIT_TIME_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()

"""The base zygotes, one for each interpreter: the only ones that are not forked, but started as programs."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from executor.isolation.host import HostIsolation
from executor.supervisor.control import ParentLostError
from executor.supervisor.parent_zygote import ZYGOTE_READY_TIME_S, ParentZygote
from executor.supervisor.zygote import Zygote, start_base_zygote
from protocol.control import ForkZygote

__all__ = ["BaseZygote"]

log = structlog.get_logger("executor.runtime")

ZYGOTE_EXIT_TIME_S: Final = 10.0
"""Longest time for the base zygote to end all that is below it, before it is killed."""

BASE_IDLE_S: Final = 60.0
"""How long the base zygote of an environment's interpreter is kept although no zygote comes from it."""


class BaseZygote(ParentZygote):
    """One base zygote.

    Args:
        loop: The supervisor's event loop.
        host: What workers are isolated with.
        interpreter: What runs it; `None` for our own, which is kept once it was started.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, host: HostIsolation, interpreter: Path | None) -> None:
        super().__init__(loop, host, BASE_IDLE_S if interpreter is not None else None)
        self._interpreter = interpreter
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = asyncio.Lock()
        self._resting: asyncio.Task[None] | None = None

    def lend_folder(self, plugin_root: str, link_fd: int) -> None:
        """Have a plugin's folder lent to a zygote that came from here and does not see it.

        Args:
            plugin_root: The folder.
            link_fd: A socket whose other end that zygote gets. Taken over.
        """
        if self._zygote is not None:
            self._zygote.lend_folder(plugin_root, link_fd, copy_private=self._host.ids > 0)
        else:
            os.close(link_fd)

    async def wait_closed(self) -> None:
        """Wait for the end of its process."""
        if self._resting is not None:
            await self._resting
        await self._reap()
        await super().wait_closed()

    def _owner(self, command: ForkZygote) -> Mapping[str, str]:
        """Those that import an environment come from here, those of its plugins from them."""
        return {"environment": command.environment} if command.environment else super()._owner(command)

    def _rest(self) -> None:
        log.info("zygote.rested", plugin=None, interpreter=str(self._interpreter))
        super()._rest()
        self._resting = self._loop.create_task(self._reap_locked())

    async def _reap_locked(self) -> None:
        async with self._lock:
            if self._zygote is None:
                await self._reap()

    async def _wait_ready(self) -> Zygote:
        async with self._lock:
            if self._zygote is None or not self._zygote.alive:
                if self._zygote is not None:
                    log.error("zygote.lost", zygote=self._zygote.name)
                await self._reap()
                self._zygote, self._process = start_base_zygote(self._loop, self._host.group_folders, self._interpreter)
            zygote = self._zygote
            if not zygote.ready.done():
                await self._wait_begun(zygote)
            return zygote

    async def _wait_begun(self, zygote: Zygote) -> None:
        """Wait until one that was started takes commands; one that does not, in all that time, is ended."""
        try:
            await zygote.wait_ready(ZYGOTE_READY_TIME_S)
        except ParentLostError:
            if self._process is not None:
                self._process.kill()
            self._let_go()
            raise
        interpreter = str(self._interpreter) if self._interpreter is not None else None
        log.info("zygote.ready", plugin=None, pid=zygote.pid, interpreter=interpreter)

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

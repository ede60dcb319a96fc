"""The base zygote, and through it the zygotes of plugins."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Final

import structlog

from executor.isolation.host import HostIsolation
from executor.supervisor.zygote import Zygote, start_base_zygote
from protocol.control import ForkZygote

__all__ = ["ZygoteTree"]

log = structlog.get_logger("executor.runtime")

ZYGOTE_READY_TIME_S: Final = 60.0
"""Longest start of a zygote: importing a large SDK on a busy machine takes seconds."""

ZYGOTE_EXIT_TIME_S: Final = 10.0
"""Longest time for the base zygote to end all that is below it, before it is killed."""

PRELOAD: Final = ("dify_plugin",)
"""Trusted modules that plugin zygotes import: the SDK, real or bundled."""


class ZygoteTree:
    """The base zygote, started on first use and again after a loss.

    Args:
        loop: The supervisor's event loop.
        host: What workers are isolated with.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, host: HostIsolation) -> None:
        self.loop = loop
        self.host = host
        self._base: Zygote | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = asyncio.Lock()

    async def fork_plugin_zygote(self, name: str, root: str) -> Zygote:
        """Fork a zygote for one plugin and wait until it has done its imports.

        Raises:
            ParentLostError: It, or the base zygote, did not become ready.
            OSError: No descriptors, memory or processes left.
        """
        async with self._lock:
            base = await self._wait_base()
        command = ForkZygote(
            zygote_id=0,
            name=name,
            preload=PRELOAD,
            sys_path=(),
            plugin_root=root,
            first_id=self.host.first_id,
            ids=self.host.ids,
            off=self.host.off,
        )
        _, zygote = base.fork_zygote(command)
        try:
            await zygote.wait_ready(ZYGOTE_READY_TIME_S)
        except BaseException:
            zygote.close()
            raise
        log.info("zygote.ready", plugin=name, pid=zygote.pid)
        return zygote

    async def close(self) -> None:
        """End the base zygote and wait for its process."""
        if self._base is not None:
            self._base.close()
            self._base = None
        await self._reap()

    async def _wait_base(self) -> Zygote:
        if self._base is not None and self._base.alive:
            return self._base
        if self._base is not None:
            log.error("zygote.lost", zygote="base")
        await self._reap()
        self._base, self._process = start_base_zygote(self.loop, self.host.group_folders)
        await self._base.wait_ready(ZYGOTE_READY_TIME_S)
        log.info("zygote.ready", plugin=None, pid=self._base.pid)
        return self._base

    async def _reap(self) -> None:
        if self._process is not None:
            status = await asyncio.to_thread(_wait_process, self._process)
            log.debug("zygote.exited", zygote="base", status=status)
            self._process = None


def _wait_process(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(ZYGOTE_EXIT_TIME_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()

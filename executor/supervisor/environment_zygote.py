"""The zygotes of environments: each imports its environment once, for all plugins that have it (decision 0029)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog

from executor.isolation.host import HostIsolation
from executor.supervisor.base_zygote import BaseZygote
from executor.supervisor.control import Child, ParentLostError
from executor.supervisor.parent_zygote import ParentZygote, wait_started
from executor.supervisor.zygote import Zygote
from protocol.checks import clip
from protocol.control import ForkZygote
from protocol.limits import MAX_NAME

__all__ = ["EnvironmentZygote"]

log = structlog.get_logger("executor.runtime")

ENVIRONMENT_IDLE_S: Final = 10.0
"""How long the zygote of an environment is kept although no zygote of a plugin comes from it."""


class EnvironmentZygote(ParentZygote):
    """The zygote of one environment.

    Args:
        loop: The supervisor's event loop.
        host: What workers are isolated with.
        base: Where it comes from.
        command: What any plugin that has the environment would be forked by.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, host: HostIsolation, base: BaseZygote, command: ForkZygote
    ) -> None:
        super().__init__(loop, host, ENVIRONMENT_IDLE_S)
        self._base = base
        self._command = replace(command, name=clip(command.environment, MAX_NAME), plugin_root="", imports=())
        self._starting: asyncio.Task[Zygote] | None = None
        self._prepared = False

    def close(self) -> None:
        """End it for good, and with it every zygote that was forked from it."""
        super().close()
        if self._starting is not None:
            self._starting.cancel()

    async def wait_closed(self) -> None:
        """Wait until nobody waits for its start any more, and all is given back that came with its plugins' zygotes."""
        if self._starting is not None:
            await asyncio.wait({self._starting})
        await super().wait_closed()

    async def _wait_ready(self) -> Zygote:
        """Start it once for all who wait, and whoever stops waiting."""
        if self._zygote is not None and self._zygote.alive:
            return self._zygote
        gone = f"the environment {self._command.environment} is not used any more"
        if self._closed:
            raise ParentLostError(gone)
        if self._starting is None:
            if self._zygote is not None:
                log.error("zygote.lost", zygote=self._zygote.name)
            self._begin_use()
            self._starting = self._loop.create_task(self._base.fork(self._command))
            self._starting.add_done_callback(self._on_started)
        return await wait_started(self._starting, gone)

    def _on_started(self, starting: asyncio.Task[Zygote]) -> None:
        self._starting = None
        self._zygote = None
        if not starting.cancelled() and starting.exception() is None:
            self._zygote, self._prepared = starting.result(), False
            log.info("environment.ready", environment=self._command.environment, pid=self._zygote.pid)
            if self._closed:
                self._let_go()
        self._end_use()

    def _fork(self, parent: Zygote, command: ForkZygote) -> tuple[Child, Zygote]:
        """Fork the first one as things are, since somebody waits for it; it prepares itself for the others."""
        child, zygote = super()._fork(parent, command)
        if not self._prepared:
            self._prepared = zygote.provisional = True
            parent.prepare_forks()
        return child, zygote

    def _rest(self) -> None:
        log.info("environment.rested", environment=self._command.environment)
        super()._rest()

    def _lend(self, command: ForkZygote) -> Sequence[int]:
        """Have the base zygote, which sees it, lend the plugin's folder."""
        if not command.plugin_root:
            return ()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._base.lend_folder(command.plugin_root, ours.detach())
        return (theirs.detach(),)

"""All zygotes: base zygotes, those of environments, and through them the zygotes of plugins."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

from executor.environments.environment import Environment, EnvironmentUnfitError
from executor.isolation.host import HostIsolation
from executor.supervisor.base_zygote import BaseZygote
from executor.supervisor.control import ParentLostError
from executor.supervisor.environment_zygote import EnvironmentZygote
from executor.supervisor.readiness import Readiness
from executor.supervisor.zygote import Zygote
from protocol.control import ForkZygote

__all__ = ["ZygoteTree"]

log = structlog.get_logger("executor.runtime")

PRELOAD: Final = ("dify_plugin",)
"""Trusted modules that plugin zygotes import: the SDK, real or bundled."""


class ZygoteTree:
    """Base zygotes, one for each interpreter, and one zygote for each environment.

    Each is started on first use and again after a loss. The zygote of a plugin comes from that of its environment, or,
    in the executor's own environment, from the base zygote.

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
        self._environments: dict[tuple[BaseZygote, Environment], EnvironmentZygote] = {}

    async def fork_plugin_zygote(
        self, name: str, root: str, environment: Environment | None = None, imports: tuple[str, ...] = ()
    ) -> Zygote:
        """Fork a zygote for one plugin and wait until it has done its imports.

        Args:
            name: Of the plugin.
            root: Its folder; empty for none.
            environment: What its workers import from; not given: that of the executor.
            imports: What its sources import from elsewhere, to be imported as far as that works.

        Raises:
            ParentLostError: It, or what it comes from, did not become ready, or the environment is not fit.
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
            imports=imports,
            sys_path=(),
            plugin_root=root,
            environment=str(environment.folder) if environment is not None else "",
            trees=tuple(map(str, environment.trees)) if environment is not None else (),
            first_id=self.host.first_id,
            ids=self.host.ids,
            off=self.host.off,
        )
        parent = self._find_environment(base, environment, command) if environment is not None else base
        zygote = await parent.fork(command)
        log.info("zygote.ready", plugin=name, pid=zygote.pid, environment=command.environment or None)
        return zygote

    async def close(self) -> None:
        """End all zygotes and wait for their processes."""
        parents = [*self._environments.values(), *self._bases.values()]
        self._environments.clear()
        self._bases.clear()
        for parent in parents:
            parent.close()
        for parent in parents:
            await parent.wait_closed()
        self.readiness.close()

    def _find_environment(self, base: BaseZygote, environment: Environment, command: ForkZygote) -> EnvironmentZygote:
        found = self._environments.get((base, environment))
        if found is None:
            self._environments = {key: other for key, other in self._environments.items() if not other.unused}
            found = self._environments[base, environment] = EnvironmentZygote(self.loop, self.host, base, command)
        return found

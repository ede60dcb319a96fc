"""What is served at the moment, and how something else comes to be served in its place.

Everything new is tried before it is served: a worker of each plugin has to answer. Then it replaces what was served at
once, and what was served before goes on until its requests have ended.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from executor.config.model import Config
from executor.environments.builder import EnvironmentBuilder
from executor.environments.provide import Provided, provide_environments
from executor.figures.registry import Registry
from executor.gateway.app import Gateway, GatewayState
from executor.gateway.cors import CorsPolicy
from executor.hooks import Bound
from executor.installed.binding import InstalledHooks
from executor.installed.joining import join_hooks, settle
from executor.installed.watch import Applied
from executor.isolation.host import HostIsolation
from executor.isolation.state import LayerState, summarise, with_remedy
from executor.notify import notify_manager
from executor.observer import Refusal
from executor.reverse.desk import CallDesk
from executor.reverse.open_target import open_target
from executor.store.storage import PluginStorage
from executor.supervisor.supervisor import Supervisor

__all__ = ["Serving"]

log = structlog.get_logger("executor.service")

BUILD_EXTENSION_US: Final = 180 * 1_000_000
"""How long a service manager is asked to wait after each sign of life of a build."""

FIXED_SETTINGS: Final = ("listen", "admin", "state_dir", "store", "secrets", "log", "http", "isolation", "serverless")
"""Sections that a reload cannot change, because sockets, folders and control groups are open already."""


class Serving:
    """The hooks in force.

    Args:
        config: What is configured to begin with; nothing is in force yet.
        host: What workers are isolated with.
        supervisor: Runs invocations.
        gateway: Finds hooks.
        registry: Counts.
        installed: The hooks of the store.
        builder: Builds environments.
        storage: What plugins store.

    Attributes:
        bound: What is in force.
        configured: The part of it that the configuration says.
        config: The configuration in force.
    """

    def __init__(
        self,
        config: Config,
        *,
        host: HostIsolation,
        supervisor: Supervisor,
        gateway: Gateway,
        registry: Registry,
        installed: InstalledHooks,
        builder: EnvironmentBuilder,
        storage: PluginStorage,
    ) -> None:
        self.config = config
        self.configured = Bound()
        self.bound = Bound()
        self._host = host
        self._supervisor = supervisor
        self._gateway = gateway
        self._registry = registry
        self._installed = installed
        self._builder = builder
        self._storage = storage
        self._answered: Config | None = None
        self._isolation: Sequence[LayerState] = ()
        self._tracebacks: Mapping[Path, str] = {}

    async def change(self, config: Config, configured: Bound) -> tuple[Applied, list[Refusal]]:
        """Put what is configured and what is installed in force, unless something that is configured fails.

        Returns:
            (applied, refusals): what of the store is in force then; what is wrong with what is configured: all stays
            as it was in that case.

        Raises:
            StoreError: The store could not be used.
            ConfigError: What the configuration says about reverse calls cannot be used.
        """
        installed = await asyncio.to_thread(self._installed.bind, config)
        self._builder.settings = config.environments
        wanted, problems = await self._provide(join_hooks(configured, installed))
        try:
            problems |= await self._probe(wanted, problems)
            refused = self._list_refusals(configured, problems)
            if not refused:
                await self._open_desk(config)
        except Exception:
            self._supervisor.keep_only(self.bound.plugins)
            raise
        if refused:
            self._supervisor.keep_only(self.bound.plugins)  # and not what was tried
            return Applied(), refused
        self._warn_of_fixed_settings(config)
        self._put_in_force(config, settle(wanted, problems, self.bound.hooks))
        self.configured = configured
        return Applied(installed.generation, self.bound.failed, folders=self._supervisor.live_folders()), []

    def _list_refusals(self, configured: Bound, problems: Mapping[Path, str]) -> list[Refusal]:
        return [
            Refusal(problems[plugin.root], self._tracebacks.get(plugin.root, ""))
            for plugin in configured.plugins
            if plugin.root in problems
        ]

    async def _open_desk(self, config: Config) -> None:
        """Have reverse calls answered as a configuration says; the same one goes on as it is."""
        if config is self._answered:
            return
        target = await asyncio.to_thread(open_target, config.reverse)
        self._supervisor.use_desk(CallDesk(config.reverse, target, storage=self._storage, figures=self._registry.calls))
        self._answered = config

    async def _provide(self, bound: Bound) -> tuple[Bound, dict[Path, str]]:
        """Have the environments of plugins, and let go of those that nobody has used for long.

        Returns:
            (bound, problems): with the environments; why some have none, by the plugin's folder.
        """
        builder = self._builder

        def provide() -> Provided:
            provided = provide_environments(bound.plugins, bound.own, builder, _tell_progress)
            for removed in builder.collect():
                log.info("environment.removed", folder=str(removed))
            return provided

        work = asyncio.ensure_future(asyncio.to_thread(provide))
        try:
            provided = await asyncio.shield(work)
        except asyncio.CancelledError:
            builder.cancel()
            await asyncio.wait({work})
            raise
        return bound.with_plugins(provided.plugins), dict(provided.problems)

    async def _probe(self, bound: Bound, missing: Collection[Path]) -> dict[Path, str]:
        """Try every plugin with a worker, but those that lack something; what was wrong, by the plugin's folder."""
        by_memory = sorted(bound.hooks.values(), key=lambda hook: hook.limits.memory)
        limits = {hook.plugin.root: hook.limits for hook in by_memory}  # of several hooks, those of the roomiest
        plugins = [plugin for plugin in bound.plugins if plugin.root not in missing]
        results = await self._supervisor.probe(plugins, limits)
        locked = next((result.layers for result in results.values() if result.layers), None)
        if locked is not None:
            self._tell_isolation(summarise(self._host, locked))
        self._tracebacks = {root: result.traceback for root, result in results.items() if result.traceback}
        return {
            plugin.root: f"plugin {plugin.name}: no worker of it could answer: {with_remedy(problem)}"
            for plugin in plugins
            if (problem := results[plugin.root].problem)
        }

    def _tell_isolation(self, states: Sequence[LayerState]) -> None:
        """Say once what holds on this host, loudly where something does not."""
        if states == self._isolation:
            return
        self._isolation = states
        self._registry.observe_isolation({state.name: state.state == "on" for state in states})
        for state in states:
            if state.state != "on":
                event = f"isolation.layer_{state.state}"
                log.warning(event, layer=state.name, evidence=state.evidence, remedy=state.remedy)
        groups = self._host.control_groups
        log.info(
            "isolation.summary",
            on=[state.name for state in states if state.state == "on"],
            control_groups=f"{groups.version} at {groups.place}" if groups is not None else None,
        )

    def _put_in_force(self, config: Config, bound: Bound) -> None:
        self._gateway.state = GatewayState(
            hooks=bound.hooks,
            failed=frozenset(bound.failed),
            cors=CorsPolicy(config.cors),
            trusted_proxies=config.trusted_proxies,
            debug=config.debug,
            dify_routing=config.compat.routing == "dify",
        )
        self._registry.forget_hooks(self.bound.hooks.keys() - bound.hooks.keys())
        self._registry.expect_hooks(bound.hooks)
        self._supervisor.limit_admission(config.admission)
        self._supervisor.limit_spares(config.spares)
        self._supervisor.keep_only(bound.plugins)
        self.config = config
        self.bound = bound
        _spare_collections()
        for hook_id, problem in bound.failed.items():
            log.error("hook.failed", hook_id=hook_id, problem=problem, served=hook_id in bound.hooks)

    def _warn_of_fixed_settings(self, config: Config) -> None:
        for name in FIXED_SETTINGS:
            if getattr(config, name) != getattr(self.config, name):
                log.warning("service.needs_restart", setting=name)


def _spare_collections() -> None:
    """Have the garbage collector leave alone what lasts: going through all of it holds requests up for milliseconds."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _tell_progress(plugin: str, line: str) -> None:
    log.info("environment.build", plugin=plugin, detail=line)
    extension = f"EXTEND_TIMEOUT_USEC={BUILD_EXTENSION_US}"  # a start with a build takes longer than managers wait
    notify_manager(f"STATUS=Building the environment of {plugin}: {line}", extension)

"""The supervisor: every runtime, every live invocation, and what holds for all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import structlog

from executor.catalog.plugin import Plugin
from executor.config.limits import Limits
from executor.config.model import AdmissionLimits, SpareSettings
from executor.figures.figures import Figures
from executor.figures.live import LiveWorker
from executor.hooks import BoundHook
from executor.isolation.host import HostIsolation
from executor.outcome import Outcome
from executor.reverse.broker import CallBroker, CallLink
from executor.reverse.desk import CallDesk
from executor.supervisor.admission import Admission
from executor.supervisor.client import Client
from executor.supervisor.invocation import Invocation
from executor.supervisor.kept import Keeper, KeptKey, KeptWorkers, settings_digest
from executor.supervisor.output import LogRecord
from executor.supervisor.runtime import PROBE_TIME_S, PluginRuntime, ProbeResult
from executor.supervisor.spares import SpareBudget
from executor.supervisor.zygote_tree import ZygoteTree
from protocol.messages import Invoke

__all__ = ["InvocationDesk", "Supervisor"]

endpoint_log = structlog.get_logger("executor.endpoint")

PROBES_AT_ONCE: Final = 4
"""Plugins probed side by side: a start with many plugins should not take long, nor all of the machine."""

WARM_MOST: Final = 64
"""Plugins that may keep their processes for a while when they have been probed together. Of a thousand they would take
some 10 GiB, for requests that perhaps never come."""


class _RuntimeKey(NamedTuple):
    """What decides whether a plugin is served by the same processes as before; digests are of what folders hold."""

    name: str
    root: Path
    digest: str
    environment: str
    imports: tuple[str, ...]


class InvocationDesk(Protocol):
    """Where the reverse calls of an invocation come to."""

    def for_invocation(
        self, invoke: Invoke, plugin: Plugin, limits: Limits, tenant_id: str | None = None
    ) -> Callable[[CallLink, Callable[[], None]], CallBroker]:
        """Return what makes the broker of one invocation, once there is a worker."""

    def in_use(self) -> AbstractContextManager[None]:
        """Keep who answers."""


class Supervisor:
    """Runs invocations.

    Args:
        host: What workers are isolated with.
        admission: Limits over all hooks.
        spares: How many workers may be made in advance.
        record: Takes the figures of every finished invocation.
    """

    def __init__(
        self,
        *,
        host: HostIsolation,
        admission: AdmissionLimits,
        spares: SpareSettings,
        record: Callable[[Figures], None],
    ) -> None:
        self.admission = Admission(
            concurrency=admission.concurrency,
            queue_length=admission.queue_length,
            queue_time_s=admission.queue_time,
        )
        self._desk: CallDesk | None = None
        self._budget = SpareBudget(spares)
        self._tree = ZygoteTree(asyncio.get_running_loop(), host)
        self._record = record
        self._runtimes: dict[_RuntimeKey, PluginRuntime] = {}
        self._good: dict[_RuntimeKey, ProbeResult] = {}
        self._pinned: set[_RuntimeKey] = set()
        self._retiring: set[asyncio.Task[None]] = set()
        self._live: set[Invocation] = set()
        self._kept = KeptWorkers()

    async def run(
        self, invoke: Invoke, rule: str, hook: BoundHook, client: Client, *, desk: InvocationDesk | None = None
    ) -> None:
        """Run one invocation to its end; its reverse calls are answered at a desk of its own, or at that of all."""
        runtime = self._runtimes[_key(hook.plugin)]
        desk = desk or self._desk
        invocation = Invocation(
            invoke=invoke,
            rule=rule,
            limits=hook.limits,
            client=client,
            runtime=runtime,
            admission=self.admission,
            record=self._record,
            emit_log=_emit_log,
        )
        if desk is not None:
            invocation.open_broker = desk.for_invocation(invoke, hook.plugin, hook.limits, hook.tenant_id)
        if hook.worker.max_invocations > 1:
            key = KeptKey(runtime, hook.hook_id, settings_digest(invoke.settings), hook.limits, invoke.debug)
            invocation.keeper = Keeper(self._kept, key, hook.worker)
        self._live.add(invocation)
        with runtime.in_use(), desk.in_use() if desk is not None else contextlib.nullcontext():
            try:
                await invocation.run()
            finally:
                self._live.discard(invocation)

    async def probe(self, plugins: Collection[Plugin], limits: Mapping[Path, Limits]) -> Mapping[Path, ProbeResult]:
        """Have a worker of each plugin import all its sources; what came of it, by the plugin's folder.

        Runtimes of plugins that were not served before are made here, and kept. A plugin that was found good is not
        tried again as long as its files are the same.

        Args:
            plugins: What to try.
            limits: What a worker may use, by the plugin's folder.
        """
        places = asyncio.Semaphore(PROBES_AT_ONCE)
        many = sum(_key(plugin) not in self._good for plugin in plugins) > WARM_MOST

        async def probe(plugin: Plugin) -> ProbeResult:
            key = _key(plugin)
            runtime = self._runtimes.get(key)
            if runtime is None:
                runtime = PluginRuntime(
                    plugin.name,
                    str(plugin.root),
                    self._tree,
                    budget=self._budget,
                    environment=plugin.environment,
                    imports=plugin.imports,
                )
                self._runtimes[key] = runtime
            if key not in self._good:
                async with places:
                    result = await runtime.probe(plugin.sources, limits[plugin.root], PROBE_TIME_S)
                    if not result.problem:
                        self._good[key] = result
                        runtime.compile(limits[plugin.root])
                    if many:
                        await runtime.cool()
                return result
            return self._good[key]

        results = await asyncio.gather(*map(probe, plugins))
        return {plugin.root: result for plugin, result in zip(plugins, results, strict=True)}

    def keep_only(self, plugins: Collection[Plugin]) -> None:
        """Retire the runtimes of all other plugins but those that are pinned; their invocations run to the end.

        No worker that was begun before this is kept for another request after it.
        """
        self._kept.renew()
        kept = {_key(plugin) for plugin in plugins} | self._pinned
        for key in set(self._runtimes) - kept:
            self._retire(key)

    def pin(self, plugin: Plugin) -> None:
        """Keep the runtime of a plugin, which is not one of those of the hooks, until `unpin`."""
        self._pinned.add(_key(plugin))

    def unpin(self, plugin: Plugin) -> None:
        """Retire the runtime of a plugin that was pinned."""
        key = _key(plugin)
        self._pinned.discard(key)
        if key in self._runtimes:
            self._retire(key)

    def _retire(self, key: _RuntimeKey) -> None:
        self._good.pop(key, None)
        task = asyncio.create_task(self._runtimes.pop(key).retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def limit_admission(self, limits: AdmissionLimits) -> None:
        """Put new limits over all hooks in force, for requests from now on."""
        self.admission.concurrency = limits.concurrency
        self.admission.queue_length = limits.queue_length
        self.admission.queue_time_s = limits.queue_time

    def use_desk(self, desk: CallDesk) -> None:
        """Have the reverse calls of invocations from now on answered there."""
        if self._desk is not None:
            task = asyncio.create_task(self._desk.retire())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        self._desk = desk

    def limit_spares(self, settings: SpareSettings) -> None:
        """Put new settings of spare workers in force."""
        self._budget.settings = settings

    def live_workers(self) -> tuple[LiveWorker, ...]:
        """Show every invocation that has a worker."""
        return tuple(
            LiveWorker(
                pid=pid,
                invocation_id=invocation.invoke.invocation_id,
                hook_id=invocation.invoke.hook_id,
                plugin=invocation.runtime.name,
                rule=invocation.rule,
                method=invocation.invoke.method,
                state=invocation.state,
                age_s=invocation.age_s,
                bytes_in=invocation.measured.bytes_in,
                bytes_out=invocation.measured.bytes_out,
            )
            for invocation in self._live
            if (pid := invocation.pid) is not None
        )

    def live_folders(self) -> frozenset[str]:
        """List the folders of plugins that invocations run in, or may begin to."""
        served = {str(key.root) for key in self._runtimes}
        return frozenset(served | {invocation.runtime.root for invocation in self._live})

    def count_slots(self) -> dict[str, int]:
        """Count the slots of all plugins that are served, by what they do."""
        pools = [runtime.slots for runtime in self._runtimes.values()]
        spare, kept = self._budget.ready, self._kept.count
        return {
            "idle": sum(pool.idle for pool in pools),
            "spare": spare,
            "kept": kept,
            "busy": max(0, sum(pool.busy for pool in pools) - spare - kept),
        }

    async def drain(self, grace_s: float) -> int:
        """Let running invocations finish for `grace_s` seconds, then end them; requests that wait are turned away.

        Returns:
            How many had to be ended.
        """
        for invocation in tuple(self._live):
            if invocation.state == "queued":
                invocation.interrupt(Outcome.SHUTDOWN)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self.admission.wait_idle()
        ended = self.end_all()
        await self.admission.wait_idle()
        return ended

    def end_all(self) -> int:
        """End every invocation now; how many were not ending already."""
        return sum(invocation.interrupt(Outcome.SHUTDOWN) for invocation in tuple(self._live))

    async def close(self) -> None:
        """End all zygotes, and connections to those who answer reverse calls."""
        if self._desk is not None:
            await self._desk.close()
        for task in self._retiring:
            task.cancel()
        self._kept.renew()
        await self._kept.wait_ended()
        for runtime in self._runtimes.values():
            runtime.close()
        await self._tree.close()
        for runtime in self._runtimes.values():
            await runtime.wait_closed()


def _key(plugin: Plugin) -> _RuntimeKey:
    environment = plugin.environment.digest if plugin.environment is not None else ""
    return _RuntimeKey(plugin.name, plugin.root, plugin.digest, environment, plugin.imports)


def _emit_log(hook_id: str, invocation_id: str, line: LogRecord) -> None:
    getattr(endpoint_log, line.level)(
        "endpoint.output",
        hook_id=hook_id,
        invocation_id=invocation_id,
        source=line.source,
        message=line.message,
    )

"""The warm side of one plugin: its zygote, its slots, and the workers forked in them.

`ZygoteTree` keeps the base zygote; `PluginRuntime` keeps the zygote of one plugin version and its slots, forks a fresh
worker for every invocation, refuses one that is not locked down as required, and replaces a zygote that was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import structlog

from executor.config.limits import Limits
from executor.isolation.control_groups import GroupUsage
from executor.isolation.host import HostIsolation, OutOfSlotsError
from executor.isolation.worker_limits import worker_limits
from executor.supervisor.control import ParentLostError
from executor.supervisor.output import Stream
from executor.supervisor.slots import Slot, SlotPool
from executor.supervisor.worker import WorkerHandle, WorkerSink, describe_exit
from executor.supervisor.zygote import CLEAN_ENVIRONMENT, Zygote, start_base_zygote
from protocol.control import Exited, ForkZygote
from protocol.limits import MAX_PATHS
from protocol.messages import Error, Locked, Log, Prepare, Ready

__all__ = [
    "PROBE_TIME_S",
    "PluginRuntime",
    "ProbeResult",
    "ReadyWorker",
    "StartError",
    "ZygoteTree",
    "discard_output",
]

log = structlog.get_logger("executor.runtime")

ZYGOTE_READY_TIME_S: Final = 60.0
"""Longest start of a zygote: importing a large SDK on a busy machine takes seconds."""

ZYGOTE_EXIT_TIME_S: Final = 10.0
"""Longest time for the base zygote to end all that is below it, before it is killed."""

PROBE_TIME_S: Final = 60.0
"""Longest time that sources may take to be imported when a plugin is probed."""

PRELOAD: Final = ("dify_plugin",)
"""Trusted modules that plugin zygotes import: the SDK, real or bundled."""


class StartError(Exception):
    """A worker did not become ready.

    Attributes:
        error: The worker's `ERROR` message, when it sent one.
    """

    def __init__(self, detail: str, error: Error | None = None) -> None:
        super().__init__(detail)
        self.error = error


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe of a plugin found.

    Attributes:
        report: What the worker said in `READY`; `None` when it did not.
        locked: What the worker said in `LOCKED`, by layer; empty when it did not.
        problem: Why it was not ready.
    """

    report: dict[str, object] | None
    problem: str
    locked: dict[str, object]


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


class ReadyWorker:
    """A worker that has imported its source and waits for its one invocation.

    Args:
        handle: Its pipes.
        slot: Where it is; given back by `finish`.
        pool: Where the slot comes from.
        locked: What it said in `LOCKED`.
        report: What it said in `READY`.
    """

    __slots__ = ("_pool", "handle", "locked", "report", "slot")

    def __init__(
        self,
        handle: WorkerHandle,
        slot: Slot,
        pool: SlotPool,
        *,
        locked: dict[str, object],
        report: dict[str, object],
    ) -> None:
        self.handle = handle
        self.slot = slot
        self.locked = locked
        self.report = report
        self._pool = pool

    def usage(self) -> GroupUsage | None:
        """What the worker and all its processes have used so far, where a control group counts it."""
        return self.slot.usage()

    async def finish(self, grace_s: float) -> Exited | None:
        """Wait for its end, at most `grace_s` seconds before it is killed, and give its slot back.

        Call it once, whatever happened to the worker; it must not be cancelled.

        Returns:
            How it ended and what it used; `None` when nobody is left who knows.
        """
        try:
            return await self.handle.wait_exit(grace_s) or self.slot.report_kill(self.handle.child)
        finally:
            self.handle.close()
            self._pool.release(self.slot)


class PluginRuntime:
    """Forks workers for one plugin.

    Args:
        name: Of the plugin.
        root: Its folder.
        tree: Where its zygote comes from.
        has_files: Whether workers are to see the folder.
    """

    def __init__(self, name: str, root: str, tree: ZygoteTree, *, has_files: bool = True) -> None:
        self.name = name
        self._root = root
        self._shown = root if has_files else ""
        self._tree = tree
        self._zygote: Zygote | None = None
        self._starting: asyncio.Task[Zygote] | None = None
        self._closed = False
        self._users = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._slots = SlotPool(name, tree.host, self._wait_zygote)

    @property
    def slots(self) -> SlotPool:
        """Where its workers are."""
        return self._slots

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the runtime open, even when it is retired meanwhile."""
        self._users += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                self._idle.set()

    async def start_worker(
        self, sources: tuple[str, ...], sink: WorkerSink, limits: Limits, *, debug: bool = False
    ) -> ReadyWorker:
        """Fork a worker and wait until it is locked down and has imported `sources`.

        The caller must `finish` the worker.

        Raises:
            StartError: It reported an error, ended, broke the protocol, or is not isolated as required. It is gone.
        """
        slot: Slot | None = None
        handle: WorkerHandle | None = None
        try:
            slot = await self._slots.acquire()
            slot.limit(limits)
            handle = WorkerHandle(slot, sink, self._tree.loop)
            handle.send(self._prepare(sources, limits, debug=debug))
            locked = await self._wait_locked(handle)
            message = await handle.receive()
            if isinstance(message, Ready):
                return ReadyWorker(handle, slot, self._slots, locked=locked, report=dict(message.report))
            raise await _start_error(handle, message)
        except BaseException as error:
            await asyncio.shield(asyncio.ensure_future(self._discard(handle, slot)))
            if isinstance(error, OSError | ParentLostError | OutOfSlotsError):
                raise StartError(f"no worker could be forked: {error}") from error
            raise

    async def probe(self, sources: tuple[str, ...], limits: Limits, timeout_s: float) -> ProbeResult:
        """Start workers that import these sources, and end them: do they load?"""
        result = ProbeResult({}, "", {})
        with self.in_use():
            for start in range(0, len(sources), MAX_PATHS):
                result = await self._probe(sources[start : start + MAX_PATHS], limits, timeout_s)
                if result.problem:
                    break
        return result

    async def retire(self) -> None:
        """Close once nobody uses it any more."""
        await self._idle.wait()
        self.close()

    def close(self) -> None:
        """End the zygote, and with it every worker that still runs."""
        self._closed = True
        self._slots.close()
        if self._starting is not None:
            self._starting.cancel()
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    async def wait_closed(self) -> None:
        """Wait until everything of a closed runtime is gone."""
        await self._slots.wait_ended()

    async def _probe(self, sources: tuple[str, ...], limits: Limits, timeout_s: float) -> ProbeResult:
        try:
            async with asyncio.timeout(timeout_s):
                worker = await self.start_worker(sources, discard_output(), limits)
        except TimeoutError:
            return ProbeResult(None, f"importing the sources took longer than {timeout_s:g} s", {})
        except StartError as error:
            return ProbeResult(None, error.error.message if error.error else str(error), {})
        worker.handle.kill()
        await worker.finish(0)
        return ProbeResult(worker.report, "", worker.locked)

    async def _wait_locked(self, handle: WorkerHandle) -> dict[str, object]:
        """Wait until the worker has locked itself down, and believe it only if all that is required holds."""
        message = await handle.receive()
        if not isinstance(message, Locked):
            raise await _start_error(handle, message)
        missing = self._tree.host.missing(message.report)
        if missing:
            raise StartError(f"the worker does not report these layers of isolation: {', '.join(missing)}")
        return dict(message.report)

    async def _discard(self, handle: WorkerHandle | None, slot: Slot | None) -> None:
        if handle is not None:
            handle.kill()
            await handle.wait_exit(0)
            handle.close()
        if slot is not None:
            self._slots.release(slot)

    def _prepare(self, sources: tuple[str, ...], limits: Limits, *, debug: bool) -> Prepare:
        host = self._tree.host
        return Prepare(
            plugin_root=self._root,
            sources=sources,
            environ=CLEAN_ENVIRONMENT,
            limits=worker_limits(limits, grouped=host.control_groups is not None),
            required=host.required,
            off=host.off,
            options={"debug": debug},
        )

    async def _wait_zygote(self) -> Zygote:
        """Return the zygote, starting it if need be: once for all who wait, and whoever stops waiting."""
        if self._zygote is not None and self._zygote.alive:
            return self._zygote
        if self._closed:
            raise ParentLostError(f"plugin {self.name} is not served any more")
        if self._starting is None:
            if self._zygote is not None:
                log.error("zygote.lost", zygote=self.name)
            self._starting = asyncio.create_task(self._tree.fork_plugin_zygote(self.name, self._shown))
            self._starting.add_done_callback(self._on_started)
        starting = self._starting
        await asyncio.wait({starting})
        if starting.cancelled():
            raise ParentLostError(f"plugin {self.name} is not served any more")
        return starting.result()

    def _on_started(self, starting: asyncio.Task[Zygote]) -> None:
        self._starting = None
        if not starting.cancelled() and starting.exception() is None:
            self._zygote = starting.result()
            if self._closed:
                self.close()


def discard_output() -> WorkerSink:
    """Make a sink for the output of a trial: nobody asked for it."""
    return _Ignored()


class _Ignored:
    """Takes output and forgets it."""

    def add_message(self, message: Log) -> None:
        pass

    def feed(self, stream: Stream, data: bytes) -> None:
        pass


async def _start_error(handle: WorkerHandle, message: object) -> StartError:
    if isinstance(message, Error):
        return StartError(message.message, message)
    if handle.violation is not None:
        return StartError(f"the worker broke the protocol: {handle.violation}")
    report = await handle.wait_exit(0)
    return StartError(f"the worker ended before it was ready ({describe_exit(report, handle.child.failure)})")


def _wait_process(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(ZYGOTE_EXIT_TIME_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()

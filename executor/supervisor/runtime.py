"""The warm side of one plugin: its zygote, and the workers forked from it.

`ZygoteTree` keeps the base zygote; `PluginRuntime` keeps the zygote of one plugin version, forks a fresh worker for
every invocation, and replaces a zygote that was lost. Spare workers, slots and their cgroups belong here.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from executor.catalog.plugin import Plugin
from executor.supervisor.output import Stream
from executor.supervisor.scratch import ScratchRoot, remove_scratch
from executor.supervisor.worker import WorkerHandle, WorkerSink, describe_exit
from executor.supervisor.zygote import CLEAN_ENVIRONMENT, Zygote, ZygoteLostError, start_base_zygote
from protocol.control import Exited
from protocol.limits import MAX_PATHS
from protocol.messages import Error, Log, Prepare, Ready

__all__ = ["PROBE_TIME_S", "PluginRuntime", "ProbeResult", "ReadyWorker", "StartError", "ZygoteTree"]

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
    """What a probe of a plugin found: the worker's `READY` report, or why there was none."""

    report: dict[str, object] | None
    problem: str


class ZygoteTree:
    """The base zygote, started on first use and again after a loss.

    Args:
        loop: The supervisor's event loop.
        scratch: Where every worker gets a private folder of its own.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, scratch: ScratchRoot) -> None:
        self.loop = loop
        self.scratch = scratch
        self._base: Zygote | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = asyncio.Lock()

    async def fork_plugin_zygote(self, name: str) -> Zygote:
        """Fork a zygote for one plugin and wait until it has done its imports.

        Raises:
            ZygoteLostError: It, or the base zygote, did not become ready.
            OSError: No descriptors, memory or processes left.
        """
        async with self._lock:
            base = await self._wait_base()
        _, zygote = base.fork_zygote(name, preload=PRELOAD, sys_path=())
        try:
            report = await zygote.wait_ready(ZYGOTE_READY_TIME_S)
        except BaseException:
            zygote.close()
            raise
        log.info("zygote.ready", plugin=name, pid=report.pid)
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
        self._base, self._process = start_base_zygote(self.loop)
        report = await self._base.wait_ready(ZYGOTE_READY_TIME_S)
        log.info("zygote.ready", plugin=None, pid=report.pid)
        return self._base

    async def _reap(self) -> None:
        if self._process is not None:
            status = await asyncio.to_thread(_wait_process, self._process)
            log.debug("zygote.exited", zygote="base", status=status)
            self._process = None


class ReadyWorker:
    """A worker that has imported its source and waits for its one invocation.

    Attributes:
        handle: Its pipes.
        report: What it said in `READY`.
    """

    __slots__ = ("_scratch", "handle", "report")

    def __init__(self, handle: WorkerHandle, report: dict[str, object], scratch: Path) -> None:
        self.handle = handle
        self.report = report
        self._scratch = scratch

    async def finish(self, grace_s: float) -> Exited | None:
        """Wait for its end, at most `grace_s` seconds before it is killed, and remove all it leaves behind.

        Call it once, whatever happened to the worker; it must not be cancelled.
        """
        try:
            return await self.handle.wait_exit(grace_s)
        finally:
            self.handle.close()
            await remove_scratch(self._scratch)


class PluginRuntime:
    """Forks workers for one plugin.

    Args:
        plugin: What to serve.
        tree: Where its zygote comes from.
    """

    def __init__(self, plugin: Plugin, tree: ZygoteTree) -> None:
        self.plugin = plugin
        self._tree = tree
        self._zygote: Zygote | None = None
        self._starting: asyncio.Task[Zygote] | None = None
        self._closed = False
        self._users = 0
        self._idle = asyncio.Event()
        self._idle.set()

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

    async def start_worker(self, sources: tuple[str, ...], sink: WorkerSink, *, debug: bool = False) -> ReadyWorker:
        """Fork a worker and wait until it has imported `sources`.

        The caller must `finish` the worker.

        Raises:
            StartError: It reported an error, ended, or broke the protocol. It is gone.
        """
        scratch: Path | None = None
        handle: WorkerHandle | None = None
        try:
            zygote = await self._wait_zygote()
            scratch = self._tree.scratch.create()
            handle = WorkerHandle(zygote, sink, self._tree.loop)
            handle.send(self._prepare(sources, scratch, debug=debug))
            message = await handle.receive()
            if isinstance(message, Ready):
                return ReadyWorker(handle, dict(message.report), scratch)
            raise await _start_error(handle, message)
        except BaseException as error:
            await asyncio.shield(asyncio.ensure_future(self._discard(handle, scratch)))
            if isinstance(error, OSError | ZygoteLostError):
                raise StartError(f"no worker could be forked: {error}") from error
            raise

    async def probe(self, sources: tuple[str, ...], timeout_s: float) -> ProbeResult:
        """Start workers that import these sources, and end them: do they load?"""
        result = ProbeResult({}, "")
        with self.in_use():
            for start in range(0, len(sources), MAX_PATHS):
                result = await self._probe(sources[start : start + MAX_PATHS], timeout_s)
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
        if self._starting is not None:
            self._starting.cancel()
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    async def _probe(self, sources: tuple[str, ...], timeout_s: float) -> ProbeResult:
        try:
            async with asyncio.timeout(timeout_s):
                worker = await self.start_worker(sources, _Ignored())
        except TimeoutError:
            return ProbeResult(None, f"importing the sources took longer than {timeout_s:g} s")
        except StartError as error:
            return ProbeResult(None, error.error.message if error.error else str(error))
        worker.handle.kill()
        await worker.finish(0)
        return ProbeResult(worker.report, "")

    async def _discard(self, handle: WorkerHandle | None, scratch: Path | None) -> None:
        if handle is not None:
            handle.kill()
            await handle.wait_exit(0)
            handle.close()
        if scratch is not None:
            await remove_scratch(scratch)

    def _prepare(self, sources: tuple[str, ...], scratch: Path, *, debug: bool) -> Prepare:
        return Prepare(
            plugin_root=str(self.plugin.root),
            sources=sources,
            environ=CLEAN_ENVIRONMENT,
            options={"scratch": str(scratch), "debug": debug},
        )

    async def _wait_zygote(self) -> Zygote:
        """Return the zygote, starting it if need be: once for all who wait, and whoever stops waiting."""
        if self._zygote is not None and self._zygote.alive:
            return self._zygote
        if self._closed:
            raise ZygoteLostError(f"plugin {self.plugin.name} is not served any more")
        if self._starting is None:
            if self._zygote is not None:
                log.error("zygote.lost", zygote=self.plugin.name)
            self._starting = asyncio.create_task(self._tree.fork_plugin_zygote(self.plugin.name))
            self._starting.add_done_callback(self._on_started)
        starting = self._starting
        await asyncio.wait({starting})
        if starting.cancelled():
            raise ZygoteLostError(f"plugin {self.plugin.name} is not served any more")
        return starting.result()

    def _on_started(self, starting: asyncio.Task[Zygote]) -> None:
        self._starting = None
        if not starting.cancelled() and starting.exception() is None:
            self._zygote = starting.result()
            if self._closed:
                self.close()


class _Ignored:
    """Takes the output of a probe: nobody asked for it."""

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

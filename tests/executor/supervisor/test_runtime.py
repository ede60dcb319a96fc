"""Starting workers while everything that can fail fails: nothing is left behind, and the next one starts."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

import psutil
import pytest

from executor.catalog.plugin import Plugin, load_plugin
from executor.supervisor.output import Stream
from executor.supervisor.runtime import PluginRuntime, ReadyWorker, StartError, ZygoteTree
from executor.supervisor.scratch import ScratchRoot
from executor.supervisor.zygote import Zygote, ZygoteLostError
from protocol.messages import Log

LAB = Path(__file__).parents[2] / "plugins" / "lab"
SOURCES = ("endpoints/status.py",)


class Nowhere:
    """Takes a worker's output."""

    def add_message(self, message: Log) -> None:
        """Take a log message."""

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take output."""


def lab() -> Plugin:
    """The lab, loaded."""
    plugin = load_plugin(LAB).plugin
    assert plugin is not None
    return plugin


def with_runtime(tmp_path: Path, test: Callable[[PluginRuntime], Awaitable[None]]) -> None:
    """Run a test with real zygotes, and look for what is left."""

    async def run() -> None:
        before = psutil.Process().num_fds()
        children = psutil.Process().children()
        scratch = ScratchRoot(tmp_path)
        tree = ZygoteTree(asyncio.get_running_loop(), scratch)
        runtime = PluginRuntime(lab(), tree)
        try:
            await test(runtime)
            assert list(scratch.path.iterdir()) == []
        finally:
            runtime.close()
            await tree.close()
            scratch.close()
        assert psutil.Process().num_fds() == before
        assert psutil.Process().children() == children

    asyncio.run(run())


async def serve_one(runtime: PluginRuntime) -> None:
    """Start a worker and end it: all is well."""
    worker = await runtime.start_worker(SOURCES, Nowhere())
    worker.handle.kill()
    await worker.finish(0)


def test_every_step_of_a_start_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptors for the first pipe, for the last one, no room on the disk."""

    async def test(runtime: PluginRuntime) -> None:
        await serve_one(runtime)
        before = psutil.Process().num_fds()
        for target, allowed in (*(("os.pipe2", number) for number in range(4)), ("tempfile.mkdtemp", 0)):
            with monkeypatch.context() as patch:
                patch.setattr(target, _fail_after(allowed, os.pipe2))
                with pytest.raises(StartError, match="too many"):
                    await runtime.start_worker(SOURCES, Nowhere())
        assert psutil.Process().num_fds() == before
        await serve_one(runtime)

    with_runtime(tmp_path, test)


def test_a_client_that_leaves_while_the_zygote_starts_costs_nothing(tmp_path: Path) -> None:
    """The start goes on for those who still wait; nobody's zygote is forgotten."""
    before = len(psutil.Process().children(recursive=True))

    async def test(runtime: PluginRuntime) -> None:
        impatient = [asyncio.create_task(runtime.start_worker(SOURCES, Nowhere())) for _ in range(3)]
        await asyncio.sleep(0)
        patient = asyncio.create_task(serve_one(runtime))
        for task in impatient:
            task.cancel()
        assert all(isinstance(error, asyncio.CancelledError) for error in await _gather(impatient))
        await patient
        await serve_one(runtime)
        assert len(psutil.Process().children(recursive=True)) == before + 2

    with_runtime(tmp_path, test)


def test_a_start_is_given_up_with_the_runtime(tmp_path: Path) -> None:
    """Whoever waits is told, and the zygote that was about to be does not stay."""

    async def test(runtime: PluginRuntime) -> None:
        await serve_one(PluginRuntime(lab(), runtime._tree))
        waiting = asyncio.create_task(runtime.start_worker(SOURCES, Nowhere()))
        await asyncio.sleep(0)
        runtime.close()
        with pytest.raises(StartError, match="not served any more"):
            await waiting
        with pytest.raises(StartError, match="not served any more"):
            await runtime.start_worker(SOURCES, Nowhere())

    with_runtime(tmp_path, test)


def test_a_zygote_that_does_not_start_is_tried_again() -> None:
    """One failure for all who waited; the next request begins anew."""

    class Tree:
        starts = 0

        async def fork_plugin_zygote(self, _name: str) -> Zygote:
            self.starts += 1
            await asyncio.sleep(0)
            raise ZygoteLostError("played")

    async def test() -> None:
        tree = Tree()
        runtime = PluginRuntime(lab(), cast("ZygoteTree", tree))
        for attempt in (1, 2):
            waiting = [asyncio.create_task(runtime.start_worker(SOURCES, Nowhere())) for _ in range(3)]
            assert [str(error) for error in await _gather(waiting)] == ["no worker could be forked: played"] * 3
            assert tree.starts == attempt

    asyncio.run(test())


async def _gather(tasks: Sequence[asyncio.Task[ReadyWorker]]) -> list[object]:
    return list(await asyncio.gather(*tasks, return_exceptions=True))


def _fail_after(allowed: int, function: Callable[..., object]) -> Callable[..., object]:
    left = allowed

    def limited(*arguments: object, **options: object) -> object:
        nonlocal left
        if left == 0:
            raise OSError(errno.EMFILE, "too many open files")
        left -= 1
        return function(*arguments, **options)

    return limited

"""Starting workers while everything that can fail fails: nothing is left behind, and the next one starts."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

import psutil
import pytest

from executor.config.isolation import Isolation
from executor.config.limits import Limits
from executor.environments.environment import find_environment
from executor.isolation.host import HostIsolation
from executor.supervisor import runtime as runtimes
from executor.supervisor import slots as slot_pools
from executor.supervisor.control import ParentLostError
from executor.supervisor.output import Stream
from executor.supervisor.process_tree import waited_cpu_s
from executor.supervisor.ready_worker import ReadyWorker, StartError
from executor.supervisor.runtime import PluginRuntime
from executor.supervisor.zygote import Zygote
from executor.supervisor.zygote_tree import ZygoteTree
from protocol.messages import Log
from tests.environments import build_environment

LAB = Path(__file__).parents[2] / "plugins" / "lab"
SOURCES = ("endpoints/status.py",)


class Nowhere:
    """Takes a worker's output."""

    def add_message(self, message: Log) -> None:
        """Take a log message."""

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take output."""


def lab(tree: ZygoteTree) -> PluginRuntime:
    """The lab's runtime."""
    return PluginRuntime("lab", str(LAB), tree)


def with_runtime(test: Callable[[PluginRuntime], Awaitable[None]], *off: str) -> None:
    """Run a test with real zygotes and slots, and look for what is left."""

    async def run() -> None:
        before = psutil.Process().num_fds()
        children = psutil.Process().children()
        host = HostIsolation(Isolation(off=off))
        tree = ZygoteTree(asyncio.get_running_loop(), host)
        runtime = lab(tree)
        try:
            await test(runtime)
        finally:
            runtime.close()
            await tree.close()
            await runtime.wait_closed()
            host.close()
        assert not _existing(host.group_folders)
        assert psutil.Process().num_fds() == before
        assert psutil.Process().children() == children

    asyncio.run(run())


async def start(runtime: PluginRuntime) -> ReadyWorker:
    """Start a worker."""
    return await runtime.start_worker(SOURCES, Nowhere(), Limits())


async def end(worker: ReadyWorker) -> None:
    """End a worker."""
    worker.handle.kill()
    await worker.finish(0)


async def serve_one(runtime: PluginRuntime) -> None:
    """Start a worker and end it: all is well."""
    await end(await start(runtime))


def test_every_step_of_a_start_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptors for the first pipe, or for the last one, no socket for a slot, no control group."""

    async def test(runtime: PluginRuntime) -> None:
        await serve_one(runtime)
        for number in range(4):
            with monkeypatch.context() as patch:
                patch.setattr("os.pipe2", _fail_after(number, os.pipe2))
                with pytest.raises(StartError, match="too many"):
                    await start(runtime)
        first = await start(runtime)
        for target in ("socket.socketpair", "executor.isolation.host.HostIsolation.create_group"):
            with monkeypatch.context() as patch:
                patch.setattr(target, _fail_after(0, os.pipe2))
                with pytest.raises(StartError, match="too many"):
                    await start(runtime)
        first.handle.kill()
        await first.finish(0)
        await serve_one(runtime)

    with_runtime(test)


def test_a_slot_serves_one_worker_after_another() -> None:
    """The second worker gets the first one's slot; two at once have different ones."""

    async def test(runtime: PluginRuntime) -> None:
        first = await start(runtime)
        second = await start(runtime)
        assert first.slot is not second.slot
        assert first.slot.number != second.slot.number
        for worker in (first, second):
            worker.handle.kill()
            await worker.finish(0)
        third = await start(runtime)
        assert third.slot in {first.slot, second.slot}
        third.handle.kill()
        await third.finish(0)

    with_runtime(test)


def test_a_slot_that_serves_once_is_not_kept() -> None:
    """Without the filter of system calls a slot ends after one worker; the next one must not be sent to it."""

    async def test(runtime: PluginRuntime) -> None:
        worker = await start(runtime)
        assert not worker.slot.usable
        worker.handle.kill()
        await worker.finish(0)
        assert runtime.slots.idle == 0
        await serve_one(runtime)

    with_runtime(test, "seccomp")


ORPHAN = """
import os, time
down, up = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        while time.process_time() < 0.1:
            pass
        os.write(up, b".")
    os._exit(0)
os.wait()
os.read(down, 1)
"""


def test_a_worker_is_not_charged_for_those_before_it(tmp_path: Path) -> None:
    """A slot without a control group remembers what it has waited for, and what of it was there before a worker."""
    (tmp_path / "main.py").write_text(ORPHAN)

    async def test(runtime: PluginRuntime) -> None:
        leaving = PluginRuntime("leaving", str(tmp_path), runtime._tree)
        with contextlib.suppress(StartError):  # there is no endpoint in it
            await leaving.start_worker(("main.py",), Nowhere(), Limits())
        slot = await leaving.slots.acquire()
        assert slot.client.pid is not None
        slot.limit(Limits())
        assert slot.cpu_before_s == waited_cpu_s(slot.client.pid) > 0
        leaving.slots.release(slot)
        leaving.close()
        await leaving.wait_closed()

    with_runtime(test, "control_groups")


def test_a_slot_that_was_killed_is_replaced() -> None:
    """Its worker is lost without a report; the next one starts elsewhere."""

    async def test(runtime: PluginRuntime) -> None:
        worker = await start(runtime)
        worker.slot.kill()
        assert await worker.handle.channel.receive() is None
        assert await worker.finish(5) is None
        again = await start(runtime)
        assert again.slot is not worker.slot
        again.handle.kill()
        await again.finish(0)

    with_runtime(test)


def test_a_slot_whose_zygote_is_lost_gets_no_worker() -> None:
    """Its own end may be seen later than that of its zygote: a worker would be lost with it."""

    async def test(runtime: PluginRuntime) -> None:
        worker = await start(runtime)
        slot = worker.slot
        worker.handle.kill()
        await worker.finish(0)
        assert runtime.slots.idle == 1
        (await runtime._zygote.obtain()).close()
        assert slot.client.alive
        assert not slot.usable
        again = await start(runtime)
        assert again.slot is not slot
        again.handle.kill()
        await again.finish(0)

    with_runtime(test)


def test_a_slot_that_has_lost_its_template_is_replaced() -> None:
    """With a worker, which is lost without a report, or without one; the next worker starts elsewhere."""

    async def test(runtime: PluginRuntime) -> None:
        lost = []
        for busy in (True, False):
            worker = await start(runtime)
            lost.append(worker.slot)
            if not busy:
                worker.handle.kill()
                await worker.finish(0)
            template = psutil.Process(worker.slot.client.pid).parent()
            assert template is not None
            async with asyncio.timeout(60):
                while template.name() != "ee-template":  # noqa: ASYNC110 - it has that of a worker while it forks one
                    await asyncio.sleep(0.01)
            template.kill()
            if busy:
                assert await worker.handle.channel.receive() is None
                assert await worker.finish(5) is None
            await worker.slot.client.lost
        again = await start(runtime)
        assert again.slot not in lost
        again.handle.kill()
        await again.finish(0)

    with_runtime(test)


def test_a_slot_without_a_required_layer_is_refused() -> None:
    """Whether the layer is off or was not seen: no worker is forked there, and nothing of the slot is left."""

    async def test(runtime: PluginRuntime) -> None:
        host = runtime._tree.host
        host.off, host.required = ("landlock",), ("landlock",)
        with pytest.raises(StartError, match="landlock: switched off"):
            await start(runtime)
        host.off, host.required = (), ("no_such_layer",)
        with pytest.raises(StartError, match="no_such_layer: not reported"):
            await start(runtime)
        assert (runtime.slots.idle, runtime.slots.busy) == (0, 0)
        host.required = ()
        await serve_one(runtime)

    with_runtime(test)


def test_a_client_that_leaves_while_the_zygote_starts_costs_nothing() -> None:
    """The start goes on for those who still wait; nobody's zygote is forgotten."""

    async def test(runtime: PluginRuntime) -> None:
        impatient = [asyncio.create_task(start(runtime)) for _ in range(3)]
        await asyncio.sleep(0)
        patient = asyncio.create_task(serve_one(runtime))
        for task in impatient:
            task.cancel()
        assert all(isinstance(error, asyncio.CancelledError) for error in await _gather(impatient))
        await patient
        await serve_one(runtime)

    with_runtime(test)


def test_a_start_is_given_up_with_the_runtime() -> None:
    """Whoever waits is told, and the zygote that was about to be does not stay."""

    async def test(runtime: PluginRuntime) -> None:
        other = lab(runtime._tree)
        await serve_one(other)
        other.close()
        waiting = asyncio.create_task(start(runtime))
        await asyncio.sleep(0)
        runtime.close()
        with pytest.raises(StartError, match="not served any more"):
            await waiting
        with pytest.raises(StartError, match="not served any more"):
            await start(runtime)
        await other.wait_closed()

    with_runtime(test)


def test_a_runtime_that_is_closed_while_it_is_used() -> None:
    """Whoever uses it leaves no timer behind, which would keep it for half an hour."""

    async def test(runtime: PluginRuntime) -> None:
        with runtime.in_use():
            runtime.close()
        assert runtime._idle_timer is None

    with_runtime(test)


def test_a_zygote_that_does_not_start_is_tried_again() -> None:
    """One failure for all who waited; the next request begins anew."""

    class Tree:
        starts = 0
        host = None

        async def fork_plugin_zygote(self, _name: str, _root: str, _environment: object, _imports: object) -> Zygote:
            self.starts += 1
            await asyncio.sleep(0)
            raise ParentLostError("played")

    async def test() -> None:
        tree = Tree()
        runtime = lab(cast("ZygoteTree", tree))
        for attempt in (1, 2):
            waiting = [asyncio.create_task(start(runtime)) for _ in range(3)]
            assert [str(error) for error in await _gather(waiting)] == ["no worker could be forked: played"] * 3
            assert tree.starts == attempt

    asyncio.run(test())


def _existing(folders: Sequence[str]) -> list[str]:
    return [folder for folder in folders if Path(folder).exists()]


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


def with_environment(test: Callable[[PluginRuntime], Awaitable[None]]) -> None:
    """Run a test with a runtime that has an environment of its own, and look for what is left."""
    environment = find_environment(build_environment("werkzeug>=3"))

    async def run(runtime: PluginRuntime) -> None:
        own = PluginRuntime("own", str(LAB), runtime._tree, environment=environment)
        await test(own)
        own.close()
        await own.wait_closed()

    with_runtime(run)


def test_the_first_zygote_of_an_environment_is_replaced() -> None:
    """By one that costs less, while the first serves whoever has a worker of it; with the last of these it ends."""

    async def test(own: PluginRuntime) -> None:
        with own.in_use():
            worker = await start(own)
            first = await own._zygote.obtain()
            assert first.provisional
            await own._zygote.wait_settled()
            second = await own._zygote.obtain()
            assert second is not first
            assert (second.provisional, first.alive, worker.waits) == (False, True, True)
            await serve_one(own)
            assert own.slots.idle == 1
            await end(worker)
            await first.lost
            assert own.slots.idle == 1
            await serve_one(own)

    with_environment(test)


def test_both_zygotes_end_with_the_runtime() -> None:
    """Whoever still has a worker of the first one."""

    async def test(own: PluginRuntime) -> None:
        worker = await start(own)
        first = await own._zygote.obtain()
        await own._zygote.wait_settled()
        assert await own._zygote.obtain() is not first
        own.close()
        await worker.handle.child.exited
        await worker.finish(0)

    with_environment(test)


def test_a_runtime_cools_down_with_its_second_zygote() -> None:
    """Nothing is left that nobody would end."""

    async def test(own: PluginRuntime) -> None:
        with own.in_use():
            await serve_one(own)
            first = await own._zygote.obtain()
        await own.cool()
        assert not first.alive
        assert not own._zygote.there

    with_environment(test)


def test_zygotes_rest_when_nobody_calls_their_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a plugin with an environment of its own do so later: to start one again takes long."""
    environment = find_environment(build_environment("werkzeug>=3"))
    monkeypatch.setattr(runtimes, "ZYGOTE_IDLE_S", 0.0)
    monkeypatch.setattr(slot_pools, "IDLE_TIME_S", 0.0)

    async def test(runtime: PluginRuntime) -> None:
        own = PluginRuntime("own", str(LAB), runtime._tree, environment=environment)
        with runtime.in_use(), own.in_use():
            await serve_one(runtime)
            await serve_one(own)
            zygote, kept = await runtime._zygote.obtain(), await own._zygote.obtain()
        await zygote.lost
        assert kept.alive
        await serve_one(runtime)
        own.close()
        await own.wait_closed()

    with_runtime(test)

"""Spare workers, forked by real zygotes: there when they are needed, gone when they are not, and watched meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from executor.config.isolation import Isolation
from executor.config.limits import Limits
from executor.config.model import SpareSettings
from executor.isolation.host import HostIsolation
from executor.supervisor import spares
from executor.supervisor.output import Stream
from executor.supervisor.ready_worker import ReadyWorker, StartError
from executor.supervisor.runtime import PluginRuntime
from executor.supervisor.spares import HeldOutput, SpareBudget
from executor.supervisor.zygote_tree import ZygoteTree
from protocol.messages import Log

ENDPOINT = """
from dify_plugin import Endpoint

class Main(Endpoint):
    def _invoke(self, r, values, settings):
        return None
"""
MAIN, OTHER = ("main.py",), ("other.py",)
LINE = Log(time=1.0, level="info", logger="l", message="m")


class Kept:
    """Keeps a worker's output."""

    def __init__(self) -> None:
        self.messages: list[Log] = []
        self.output = b""

    def add_message(self, message: Log) -> None:
        """Take a log message."""
        self.messages.append(message)

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take output."""
        self.output += stream.encode() + b":" + data


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin with two sources."""
    for (name,) in (MAIN, OTHER):
        (tmp_path / name).write_text(ENDPOINT)
    return tmp_path


@contextlib.asynccontextmanager
async def serving(plugin: Path, budget: SpareBudget) -> AsyncIterator[PluginRuntime]:
    """Run a plugin's zygote and slots."""
    host = HostIsolation(Isolation())
    tree = ZygoteTree(asyncio.get_running_loop(), host)
    runtime = PluginRuntime("spare", str(plugin), tree, budget=budget)
    try:
        yield runtime
    finally:
        runtime.close()
        await tree.close()
        await runtime.wait_closed()
        host.close()
        assert budget.used == 0


def run(plugin: Path, budget: SpareBudget, test: Callable[[PluginRuntime], Awaitable[None]]) -> None:
    """Run a test."""

    async def main() -> None:
        async with serving(plugin, budget) as runtime:
            await test(runtime)

    asyncio.run(main())


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - what holds is nobody's event
            await asyncio.sleep(0.01)


async def ask(runtime: PluginRuntime, sources: tuple[str, ...] = MAIN, sink: Kept | None = None) -> int:
    """Have a worker for a request, and end it; its process id."""
    worker = await runtime.obtain_worker(sources, sink or Kept(), Limits())
    return await end(worker)


async def end(worker: ReadyWorker) -> int:
    """End a worker; its process id."""
    worker.handle.kill()
    await worker.finish(0)
    assert worker.handle.pid is not None
    return worker.handle.pid


def spare_pids(runtime: PluginRuntime) -> list[int | None]:
    """The process ids of the spares that wait."""
    return [spare.worker.handle.pid for line in runtime._lines.values() for spare in line._waiting]


def test_the_second_request_finds_a_spare(plugin: Path) -> None:
    """The first one has a worker made for it; from then on there is one that waits, and it is replaced when taken."""
    budget = SpareBudget(SpareSettings())

    async def test(runtime: PluginRuntime) -> None:
        await ask(runtime)
        for _ in range(3):
            await until(lambda: budget.ready >= 1)
            await ask(runtime)
        await until(lambda: budget.ready >= 1 and None not in spare_pids(runtime))
        waiting = spare_pids(runtime)
        assert await ask(runtime) == waiting[-1]

    run(plugin, budget, test)


@pytest.mark.parametrize("pause_s", [0.01, 600])
def test_a_spare_is_replaced_after_its_request(plugin: Path, monkeypatch: pytest.MonkeyPatch, pause_s: float) -> None:
    """Nothing is begun in the same turn of the event loop as a request; then when it has ended, or after a pause."""
    monkeypatch.setattr(spares, "REFILL_PAUSE_S", pause_s)
    budget = SpareBudget(SpareSettings())

    async def test(runtime: PluginRuntime) -> None:
        await ask(runtime)
        await until(lambda: budget.ready == 1 and budget.used == 1)
        worker = await runtime.obtain_worker(MAIN, Kept(), Limits())
        await asyncio.sleep(0)
        assert worker.spare
        assert budget.used == 0
        if pause_s < 1:
            await until(lambda: budget.ready >= 1)
        await end(worker)
        await until(lambda: budget.ready >= 1)

    run(plugin, budget, test)


def test_output_of_the_import_belongs_to_the_request(plugin: Path) -> None:
    """What a spare printed and logged before there was a request is that request's output."""
    (plugin / "main.py").write_text(
        f"import logging\nprint('imported')\nlogging.getLogger('x').info('seen')\n{ENDPOINT}"
    )
    budget = SpareBudget(SpareSettings())

    async def test(runtime: PluginRuntime) -> None:
        await ask(runtime)
        await until(lambda: budget.ready >= 1)
        sink = Kept()
        await ask(runtime, sink=sink)
        assert sink.output == b"stdout:imported\n"
        assert [message.message for message in sink.messages] == ["seen"]

    run(plugin, budget, test)


def test_a_spare_that_has_ended_is_not_given_out(plugin: Path) -> None:
    """The request gets another worker."""
    budget = SpareBudget(SpareSettings())

    async def test(runtime: PluginRuntime) -> None:
        await ask(runtime)
        await until(lambda: budget.ready >= 1 and None not in spare_pids(runtime))
        ended = spare_pids(runtime)
        for pid in ended:
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        worker = await runtime.obtain_worker(MAIN, Kept(), Limits())
        assert worker.waits or worker.handle.pid not in ended
        await end(worker)

    run(plugin, budget, test)


def test_other_tasks_have_other_spares(plugin: Path) -> None:
    """A worker that has imported one source, or has other limits, cannot stand in for another."""
    budget = SpareBudget(SpareSettings())

    async def test(runtime: PluginRuntime) -> None:
        await ask(runtime)
        await until(lambda: budget.ready >= 1)
        waiting = [spare.worker for line in runtime._lines.values() for spare in line._waiting]
        other = await runtime.obtain_worker(OTHER, Kept(), Limits())
        limited = await runtime.obtain_worker(MAIN, Kept(), Limits(processes=5))
        assert other not in waiting
        assert limited not in waiting
        await end(other)
        await end(limited)

    run(plugin, budget, test)


@pytest.mark.parametrize(
    "settings", [SpareSettings(total=0), SpareSettings(per_task=0), SpareSettings(free_memory=1 << 44)]
)
def test_no_spares_where_there_must_be_none(plugin: Path, settings: SpareSettings) -> None:
    """The operator wants none, or the host has no memory for them: every request has its own worker."""
    budget = SpareBudget(settings)

    async def test(runtime: PluginRuntime) -> None:
        for _ in range(3):
            await ask(runtime)
            assert budget.used == 0

    run(plugin, budget, test)


def test_no_spares_while_the_free_memory_cannot_be_told(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor is left to look at it: the request's worker is ended, and its slot given back, all the same."""
    monkeypatch.setattr(spares, "MEMORY_LOOK_S", -1.0)

    def refuse() -> None:
        raise OSError(errno.EMFILE, "too many open files", "/proc/meminfo")

    async def test(runtime: PluginRuntime) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("psutil.virtual_memory", refuse)
            for _ in range(3):
                await ask(runtime)
            assert (runtime.slots.busy, spare_pids(runtime)) == (0, [])

    run(plugin, SpareBudget(SpareSettings()), test)


def test_a_line_without_spares_gets_one_of_the_longest(plugin: Path) -> None:
    """When all spares that may be are with one task, another task gets one of them."""
    budget = SpareBudget(SpareSettings(total=2, per_task=2))

    async def test(runtime: PluginRuntime) -> None:
        for _ in range(20):
            await ask(runtime)
        await until(lambda: budget.ready == 2)
        await ask(runtime, OTHER)
        lines = list(runtime._lines.values())
        await until(lambda: lines[1].ready == 1)
        assert lines[0].size <= 1
        assert budget.used <= 2

    run(plugin, budget, test)


def test_spares_go_when_nobody_asks_any_more(plugin: Path) -> None:
    """After the idle time there are none."""
    budget = SpareBudget(SpareSettings(idle_time=1.0))

    async def test(runtime: PluginRuntime) -> None:
        await ask(runtime)
        await until(lambda: budget.ready >= 1)
        (line,) = runtime._lines.values()
        await until(lambda: budget.used == 0)
        assert line.unused

    run(plugin, budget, test)


LATER = """
import os, threading, time

def later(deed, *arguments):
    while not os.path.exists("begin"):
        time.sleep(0.01)
    deed(*arguments)

"""
"""Waits until a spare is to begin with what it does."""


@pytest.mark.parametrize(
    "deed",
    [
        "threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()",
        "if os.fork() == 0:\n    while True: pass",
        "threading.Thread(target=later, args=(os._exit, 3)).start()",
        "threading.Thread(target=later, args=(os.write, 1, b'x' * 100000)).start()",
        "threading.Thread(target=later, args=(os.write, 1023, b'?' * 100)).start()",
    ],
    ids=["busy thread", "busy child", "ends", "floods", "speaks out of turn"],
)
def test_spares_that_do_not_wait_quietly_are_thrown_away(plugin: Path, deed: str) -> None:
    """And no more of them are made for a while; requests are served all the same."""
    (plugin / "main.py").write_text(f"{LATER}{deed}\n{ENDPOINT}")
    plugin.chmod(0o755)  # workers look there themselves
    budget = SpareBudget(SpareSettings())

    async def test(runtime: PluginRuntime) -> None:
        await ask(runtime)
        await until(lambda: budget.ready >= 1)
        (plugin / "begin").touch()
        await until(lambda: budget.used == 0)
        (plugin / "begin").unlink()
        await ask(runtime)
        assert budget.used == 0

    run(plugin, budget, test)


def test_a_source_that_cannot_be_imported_is_not_tried_again_and_again(plugin: Path) -> None:
    """The request is told; no spare is made for a while."""
    (plugin / "main.py").write_text("raise RuntimeError('no')")
    budget = SpareBudget(SpareSettings())

    async def test(runtime: PluginRuntime) -> None:
        with pytest.raises(StartError):
            await ask(runtime)
        await until(lambda: budget.used == 0)
        with pytest.raises(StartError):
            await ask(runtime)
        assert budget.used == 0

    run(plugin, budget, test)


def test_held_output_is_bounded() -> None:
    """More than is held is dropped, and that is known."""
    held, sink = HeldOutput(), Kept()
    held.add_message(LINE)
    for _ in range(spares.OUTPUT_MOST // 100 - 1):
        held.feed("stderr", b"x" * 100)
    assert not held.flooded
    held.feed("stderr", b"x" * 200)
    assert held.flooded
    held.pass_to(sink)
    assert sink.messages == [LINE]
    assert len(sink.output) < 2 * spares.OUTPUT_MOST
    held.feed("stdout", b"later")
    held.add_message(LINE)
    assert sink.output.endswith(b"stdout:later")
    assert len(sink.messages) == 2

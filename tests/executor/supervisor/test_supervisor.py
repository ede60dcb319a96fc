"""Probing plugins and answering requests with real workers: nothing is done twice, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from executor.catalog.plugin import Plugin
from executor.catalog.routing import Router
from executor.config.isolation import Isolation
from executor.config.limits import Limits
from executor.config.model import AdmissionLimits, SpareSettings
from executor.hooks import BoundHook
from executor.isolation.host import HostIsolation
from executor.supervisor import supervisor as module
from executor.supervisor.runtime import ProbeResult
from executor.supervisor.supervisor import Supervisor
from executor.supervisor.verdict import Verdict
from tests.executor.catalog.plugins import GOOD, load
from tests.protocol.support import INVOKE

pytestmark = pytest.mark.e2e

SOURCE = str(GOOD["endpoints/cat.py"])


def cat(folder: Path, source: str = SOURCE) -> Plugin:
    """The plugin of the catalog's tests, with this source."""
    plugin = load(folder, {**GOOD, "endpoints/cat.py": source}).plugin
    assert plugin is not None
    return plugin


def test_a_plugin_is_probed_when_its_files_have_changed(tmp_path: Path) -> None:
    """A good one is not tried again; a broken one is, and a changed one."""

    async def run() -> None:
        host = HostIsolation(Isolation())
        supervisor = Supervisor(host=host, admission=AdmissionLimits(), spares=SpareSettings(), record=lambda _: None)

        async def probe(plugin: Plugin) -> ProbeResult:
            (result,) = (await supervisor.probe([plugin], {plugin.root: Limits()})).values()
            supervisor.keep_only([plugin])
            assert (result.report is None) == bool(result.problem)
            return result

        try:
            first = await probe(cat(tmp_path / "cat"))
            assert not first.problem
            assert await probe(cat(tmp_path / "cat")) is first
            broken = cat(tmp_path / "cat", "import missing_module\n" + SOURCE)
            assert (await probe(broken)).problem
            (tmp_path / "cat" / "missing_module.py").touch()
            assert not (await probe(broken)).problem
            again = await probe(cat(tmp_path / "cat"))
            assert again is not first
            assert not again.problem
            several = [cat(tmp_path / str(number)) for number in range(6)]
            results = await supervisor.probe(several, {plugin.root: Limits() for plugin in several})
            assert all(not result.problem for result in results.values())
        finally:
            await supervisor.close()
            host.close()

    asyncio.run(run())


@pytest.mark.parametrize("most", [2, 3])
def test_many_plugins_keep_no_processes_when_they_were_probed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """A few do, for requests that may come soon."""
    monkeypatch.setattr(module, "WARM_MOST", most)

    async def run() -> None:
        host = HostIsolation(Isolation())
        supervisor = Supervisor(host=host, admission=AdmissionLimits(), spares=SpareSettings(), record=lambda _: None)
        try:
            plugins = [cat(tmp_path / str(number)) for number in range(3)]
            results = await supervisor.probe(plugins, {plugin.root: Limits() for plugin in plugins})
            assert all(not result.problem for result in results.values())
            slots = supervisor.count_slots()
            assert slots["idle"] + slots["busy"] >= 3 if most == 3 else slots == dict.fromkeys(slots, 0)
        finally:
            await supervisor.close()
            host.close()

    asyncio.run(run())


class Waiting:
    """A client without a body, which waits for all of the answer."""

    def __init__(self) -> None:
        self.got: list[object] = []

    async def receive(self) -> bytes | None:
        """There is no body."""

    async def wait_gone(self) -> None:
        """It does not go."""
        await asyncio.get_running_loop().create_future()

    async def start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:  # noqa: ARG002 - only counted
        """Note the status."""
        self.got.append(status)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Note a piece, and whether it is the last one."""
        self.got += [data, last]

    async def finish(self) -> None:
        """Note the end."""
        self.got.append(None)

    async def fail(self, verdict: Verdict) -> None:
        """Note why there is no answer."""
        self.got.append(verdict.outcome)

    def cut(self, *, at_once: bool) -> None:
        """Note that it is cut."""
        self.got.append(at_once)


PARTS = ("Invocation", "OutputLog", "Watchdog", "Clocks", "WorkerHandle", "Channel", "Connection")
"""Classes of what an invocation consists of, or that lead to it."""

RAISING = SOURCE.replace('return Response("purr")', 'raise ValueError("hiss")')


@pytest.mark.parametrize(("source", "got"), [(SOURCE, [200, b"purr", True]), (RAISING, None)], ids=["well", "failed"])
def test_nothing_of_an_invocation_waits_for_the_garbage_collector(
    tmp_path: Path, source: str, got: list[object] | None
) -> None:
    """What it consisted of is gone with it: its memory is used again, and no collection has to go through it."""

    def count_parts() -> dict[str, int]:
        there = Counter(type(found).__name__ for found in gc.get_objects())
        return {part: there[part] for part in PARTS}

    async def run() -> None:
        host = HostIsolation(Isolation())
        spares = SpareSettings(per_task=0)  # a spare would be made of some of these, too
        supervisor = Supervisor(host=host, admission=AdmissionLimits(), spares=spares, record=lambda _: None)
        plugin = cat(tmp_path / "cat", source)
        router = Router(plugin.endpoints)
        hook = BoundHook(hook_id="cat", plugin=plugin, router=router, settings={}, limits=Limits(), enabled=True)
        invoke = replace(
            INVOKE, source="endpoints/cat.py", method="GET", has_body=False, content_length=None, keep=False, values=()
        )
        try:
            await supervisor.probe([plugin], {plugin.root: Limits()})
            (runtime,) = supervisor._runtimes.values()
            assert runtime._compiling is not None
            await runtime._compiling
            gc.collect()
            gc.disable()
            before = count_parts()  # those of other tests
            client = Waiting()
            await supervisor.run(invoke, "/cat/<name>", hook, client)
            await asyncio.sleep(0)  # for the task that has listened for the client
            assert client.got == got or got is None
            assert count_parts() == before
        finally:
            gc.enable()
            await supervisor.close()
            host.close()

    asyncio.run(run())

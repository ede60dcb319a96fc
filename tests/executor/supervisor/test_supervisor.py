"""Probing plugins with real workers: each once, and again when its files have changed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from executor.catalog.plugin import Plugin
from executor.config.isolation import Isolation
from executor.config.limits import Limits
from executor.config.model import AdmissionLimits, SpareSettings
from executor.isolation.host import HostIsolation
from executor.supervisor import supervisor as module
from executor.supervisor.runtime import ProbeResult
from executor.supervisor.supervisor import Supervisor
from tests.executor.catalog.plugins import GOOD, load

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

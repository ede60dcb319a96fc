"""Probing plugins with real workers: each once, and again when its files have changed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from executor.catalog.plugin import Plugin
from executor.config.model import AdmissionLimits
from executor.supervisor.scratch import ScratchRoot
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
        scratch = ScratchRoot(tmp_path / "state")
        supervisor = Supervisor(scratch=scratch, admission=AdmissionLimits(), record=lambda _: None)

        async def pid_of_probe(plugin: Plugin) -> object:
            (result,) = (await supervisor.probe([plugin])).values()
            supervisor.keep_only([plugin])
            assert (result.report is None) == bool(result.problem)
            return result.report["pid"] if result.report is not None else None

        try:
            first = await pid_of_probe(cat(tmp_path / "cat"))
            assert first is not None
            assert await pid_of_probe(cat(tmp_path / "cat")) == first
            broken = cat(tmp_path / "cat", "import missing_module\n" + SOURCE)
            assert await pid_of_probe(broken) is None
            (tmp_path / "cat" / "missing_module.py").touch()
            assert await pid_of_probe(broken) is not None
            assert await pid_of_probe(cat(tmp_path / "cat")) not in {first, None}
            several = [cat(tmp_path / str(number)) for number in range(6)]
            results = await supervisor.probe(several)
            assert all(not result.problem for result in results.values())
        finally:
            await supervisor.close()
            scratch.close()

    asyncio.run(run())

"""Trying a plugin without serving it: does each of its sources load in a real worker?"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path

from executor.catalog.plugin import Plugin
from executor.supervisor.runtime import PROBE_TIME_S, PluginRuntime, ZygoteTree
from executor.supervisor.scratch import ScratchRoot

__all__ = ["try_sources"]


def try_sources(plugin: Plugin) -> Mapping[str, str]:
    """Have a worker of its own import each source.

    Returns:
        What went wrong, by source; sources that load are left out.

    Raises:
        OSError: There is no room for temporary files.
    """
    return asyncio.run(_try_sources(plugin))


async def _try_sources(plugin: Plugin) -> Mapping[str, str]:
    with tempfile.TemporaryDirectory(prefix="executor-check-") as folder:
        scratch = ScratchRoot(Path(folder))
        tree = ZygoteTree(asyncio.get_running_loop(), scratch)
        runtime = PluginRuntime(plugin, tree)
        try:
            results = {source: await runtime.probe((source,), PROBE_TIME_S) for source in plugin.sources}
        finally:
            runtime.close()
            await tree.close()
            scratch.close()
    return {source: result.problem for source, result in results.items() if result.problem}

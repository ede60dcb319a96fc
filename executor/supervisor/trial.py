"""Trying a plugin without serving it: does each of its sources load in a real worker?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from executor.catalog.plugin import Plugin
from executor.config.isolation import Isolation
from executor.config.limits import Limits
from executor.isolation.host import HostIsolation
from executor.supervisor.runtime import PROBE_TIME_S, PluginRuntime
from executor.supervisor.zygote_tree import ZygoteTree

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
    host = HostIsolation(Isolation())
    tree = ZygoteTree(asyncio.get_running_loop(), host)
    runtime = PluginRuntime(plugin.name, str(plugin.root), tree, environment=plugin.environment, imports=plugin.imports)
    try:
        results = {source: await runtime.probe((source,), Limits(), PROBE_TIME_S) for source in plugin.sources}
    finally:
        runtime.close()
        await tree.close()
        await runtime.wait_closed()
        host.close()
    return {source: result.problem for source, result in results.items() if result.problem}

"""What the zygote of a plugin imports for its workers, as long as nothing speaks against it (decision 0033).

A zygote that says that an import has left something behind, or that does not become ready, is replaced by one that does
without. That is remembered as long as the plugin is served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import structlog

from executor.supervisor.control import ParentLostError
from executor.supervisor.zygote import Zygote

__all__ = ["ImportList"]

log = structlog.get_logger("executor.runtime")


class ImportList:
    """The imports of one plugin.

    Args:
        plugin: Its name.
        names: What its sources import from elsewhere, as FORK_ZYGOTE names it.
    """

    def __init__(self, plugin: str, names: tuple[str, ...]) -> None:
        self._plugin = plugin
        self._names = names

    async def fork(self, fork: Callable[[tuple[str, ...]], Awaitable[Zygote]]) -> Zygote:
        """Fork a zygote with all that can be imported.

        Args:
            fork: Forks one that imports this, and waits until it is ready.

        Raises:
            ParentLostError: None became ready, not even one that imports nothing of that.
            OSError: No descriptors, memory or processes left.
        """
        while names := self._names:
            try:
                zygote = await fork(names)
            except ParentLostError as error:
                zygote = await fork(())  # where this fails, too, it was not for the imports
                self._do_without(names, str(error))
                return zygote
            report = zygote.ready.result()
            unfit = report.get("unfit")
            if not unfit:
                return zygote
            zygote.close()
            self._do_without([name for name in names if name == unfit] or names, str(report.get("reason", "")))
        return await fork(())

    def _do_without(self, names: Collection[str], reason: str) -> None:
        self._names = tuple(name for name in self._names if name not in names)
        log.info("zygote.import_left_out", plugin=self._plugin, imports=list(names), reason=reason)

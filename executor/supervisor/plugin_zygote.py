"""The zygote of one plugin: started when somebody needs it, again after a loss, and let go when nobody does.

The first zygote that is forked from that of an environment is *provisional*: it is there soon, for whoever waits, but
its workers cost more than those of one that is forked later (decision 0031). So another one is started at once, and
takes over when it is ready; the first one goes on for those who have a worker of it, and ends with the last of these.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine

import structlog

from executor.supervisor.control import ParentLostError
from executor.supervisor.parent_zygote import wait_started
from executor.supervisor.zygote import Zygote

__all__ = ["PluginZygote"]

log = structlog.get_logger("executor.runtime")


class PluginZygote:
    """The zygote of one plugin.

    Args:
        name: Of the plugin.
        fork: Forks one, and waits until it is ready.
        replaced: Called when another one has taken over from one that still works.
    """

    def __init__(
        self, name: str, fork: Callable[[], Coroutine[None, None, Zygote]], replaced: Callable[[], None]
    ) -> None:
        self._name = name
        self._fork = fork
        self._replaced = replaced
        self._zygote: Zygote | None = None
        self._retired: Zygote | None = None
        self._starting: asyncio.Task[Zygote] | None = None
        self._bytecode: int | None = None
        self._closed = False

    @property
    def there(self) -> bool:
        """Whether there is one."""
        return self._zygote is not None

    @property
    def starting(self) -> bool:
        """Whether one is being started."""
        return self._starting is not None

    async def obtain(self) -> Zygote:
        """Return it, starting it if need be: once for all who wait, and whoever stops waiting.

        Raises:
            ParentLostError: It, or what it comes from, did not become ready, or the environment is not fit.
            OSError: No descriptors, memory or processes left.
        """
        if self._zygote is not None and self._zygote.alive:
            return self._zygote
        gone = f"plugin {self._name} is not served any more"
        if self._closed:
            raise ParentLostError(gone)
        if self._starting is None:
            if self._zygote is not None:
                log.error("zygote.lost", zygote=self._name)
            self._starting = self._start()
        return await wait_started(self._starting, gone)

    async def wait_settled(self) -> None:
        """Wait until none is being started."""
        while self._starting is not None:
            await asyncio.wait({self._starting})

    def store_bytecode(self, archive_fd: int) -> None:
        """Have workers use the byte code in a file. Owned: closed with us, or at once where that has been."""
        if self._closed:
            os.close(archive_fd)
            return
        self._bytecode = archive_fd
        self._give_bytecode()

    def rest(self) -> None:
        """Let it go until somebody needs one."""
        if self._zygote is not None:
            zygote, self._zygote = self._zygote, None
            zygote.close()
            log.info("zygote.rested", plugin=self._name)

    def close(self) -> None:
        """End it for good, and with it every worker that still runs."""
        self._closed = True
        if self._bytecode is not None:
            os.close(self._bytecode)
            self._bytecode = None
        if self._starting is not None:
            self._starting.cancel()
        for zygote in (self._zygote, self._retired):
            if zygote is not None:
                zygote.close()
        self._zygote = self._retired = None

    def _give_bytecode(self) -> None:
        """Give the zygote what there is; its workers compile the plugin where that cannot be done."""
        if self._zygote is None or self._bytecode is None:
            return
        try:
            self._zygote.store_bytecode(self._bytecode)
        except OSError as error:
            log.warning("bytecode.not_given", plugin=self._name, reason=str(error))

    def _start(self) -> asyncio.Task[Zygote]:
        starting = asyncio.create_task(self._fork())
        starting.add_done_callback(self._on_started)
        return starting

    def _on_started(self, starting: asyncio.Task[Zygote]) -> None:
        self._starting = None
        if starting.cancelled():
            return
        if (error := starting.exception()) is not None:
            if self._zygote is not None and self._zygote.alive:
                log.warning("zygote.not_replaced", plugin=self._name, reason=str(error))
            return
        previous, self._zygote = self._zygote, starting.result()
        if self._closed:
            self.close()
            return
        self._give_bytecode()
        if previous is not None and previous.alive:
            self._retired = previous
            previous.retire()
            self._replaced()
        if self._zygote.provisional:
            self._starting = self._start()

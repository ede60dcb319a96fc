"""Noticing that the store has changed: told by a command on this machine, or by looking now and then.

Commands tell the services of their state folder, through the admin listener, and wait for the answer. Other machines
with the same database are not told, nor is anybody by a command that was killed after it had written: so each service
looks at the store's count of changes every `LOOK_S` seconds, which costs one row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from executor.store.errors import StoreError

__all__ = ["Applied", "StoreWatch"]

LOOK_S: Final = 2.0
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What of the store is in force.

    Attributes:
        generation: The store's count of changes when it was read; -1 before that.
        failed: Why hooks are not served as the store says, by id.
        problem: Why the store as a whole was not read; empty when it was.
        folders: Folders of plugins that requests are, or may be, served from.
    """

    generation: int = -1
    failed: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    folders: Collection[str] = ()


class StoreWatch:
    """Collects reasons to read the store again, and answers those who wait for it.

    Args:
        count: Tells the store's count of changes; may wait, raises `StoreError`.
        wake: Called when there is a reason.
    """

    def __init__(self, count: Callable[[], int], wake: Callable[[], None]) -> None:
        self._count = count
        self._wake = wake
        self._waiting: list[asyncio.Future[Applied]] = []
        self._served: list[asyncio.Future[Applied]] = []
        self._seen = False
        self.applied = Applied()

    @property
    def wanted(self) -> bool:
        """Whether the store should be read again."""
        return self._seen or bool(self._waiting)

    async def ask(self) -> Applied:
        """Have the store read again, and wait until that is in force or was refused.

        Raises:
            asyncio.CancelledError: The service ends.
        """
        future: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wake()
        return await future

    def begin(self) -> None:
        """Begin to read: whoever asks from now on has to wait for the next time."""
        self._served += self._waiting
        self._waiting = []
        self._seen = False

    def finish(self, applied: Applied) -> None:
        """Tell those who asked before `begin` what is in force."""
        self.applied = applied
        for future in self._served:
            if not future.done():
                future.set_result(applied)
        self._served = []

    def close(self) -> None:
        """Tell everybody that there is nothing to wait for."""
        for future in (*self._served, *self._waiting):
            future.cancel()

    async def look(self) -> None:
        """Look for changes until cancelled; while the store cannot be used, what is served stays as it is."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                generation = await asyncio.to_thread(self._count)
            except StoreError:
                continue  # the keeper of the store says so in the log
            if generation != self.applied.generation:
                self._seen = True
                self._wake()

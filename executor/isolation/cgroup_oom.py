"""Tells the event loop that the kernel has killed processes of a group for want of memory.

The kernel wakes a descriptor; the count of its kills says whether this group was meant. Version 1 wakes before it has
killed, and it wakes all groups below the one that is full, which may be the whole container. So there the count is
looked at again for a while.

Source: Documentation/admin-guide/cgroup-v1/memory.rst, section 10; Documentation/admin-guide/cgroup-v2.rst,
`memory.events`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

__all__ = ["OomWatch"]


class OomWatch:
    """Calls back whenever the count of kills has grown.

    Args:
        loop: Where `callback` runs.
        count: Reads the number of kills so far; an `OSError` of it means that the group is gone.
        callback: May close the watch.
        pauses_s: After a wake-up, the seconds before each further look.

    Attributes:
        callback: May be replaced.
        resources: Closed with the watch; the place for the descriptors.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        count: Callable[[], int],
        callback: Callable[[], object],
        *,
        pauses_s: Sequence[float] = (),
    ) -> None:
        self.resources = contextlib.ExitStack()
        self._loop = loop
        self._count = count
        self.callback = callback
        self._pauses_s = pauses_s
        self._seen = count()
        self._descriptor: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def listen(self, descriptor: int, drain: Callable[[], object]) -> None:
        """Wake up when a descriptor is readable; `drain` makes it unreadable again, before the count is read."""
        self._descriptor = descriptor
        self._loop.add_reader(descriptor, self._wake, drain)

    def close(self) -> None:
        """Watch no longer; this may be called again, and after the loop was closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._descriptor is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._descriptor)
        self._descriptor = None
        self.resources.close()

    def _wake(self, drain: Callable[[], object]) -> None:
        drain()
        if self._timer is not None:
            self._timer.cancel()
        self._look(0)

    def _look(self, look: int) -> None:
        self._timer = None
        try:
            count = self._count()
        except OSError:
            return
        if count > self._seen:
            self._seen = count
            self.callback()
        elif look < len(self._pauses_s):
            self._timer = self._loop.call_later(self._pauses_s[look], self._look, look + 1)

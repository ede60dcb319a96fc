"""Waits for the pipes of workers: one descriptor of the event loop for all of them.

Every worker has three pipes that are waited for, and lives for some milliseconds. An event loop keeps a handle for each
descriptor, and libuv makes four system calls to take it up and let it go again. An epoll instance is itself a
descriptor that can be waited for: so the loop waits for ours, and ours for the pipes, at one system call for each.

Source: epoll(7), "nested"; uv_poll_t of libuv.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final

__all__ = ["Readiness"]

EVENTS_PER_WAKEUP: Final = 64
"""Descriptors that are served before the event loop has its turn again."""


class Readiness:
    """Calls functions when descriptors can be read.

    Args:
        loop: Where it is waited, and the functions run. It is told of the exceptions that they raise.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._epoll = select.epoll()
        self._functions: dict[int, Callable[[], object]] = {}
        loop.add_reader(self._epoll.fileno(), self._serve)

    def watch(self, descriptor: int, function: Callable[[], object]) -> None:
        """Have a function called, again and again, while a descriptor can be read or is at its end.

        Args:
            descriptor: Not watched yet. `forget` it before it is closed.
            function: May watch and forget descriptors, its own among them.

        Raises:
            OSError: It cannot be waited for.
        """
        self._epoll.register(descriptor, select.EPOLLIN)
        self._functions[descriptor] = function

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no longer; it need not be watched."""
        if self._functions.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Watch nothing any more; this may be called again, and after the loop was closed."""
        if not self._epoll.closed and not self.loop.is_closed():
            self.loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._functions.clear()

    def _serve(self) -> None:
        for descriptor, _ in self._epoll.poll(0, EVENTS_PER_WAKEUP):
            function = self._functions.get(descriptor)  # one before it may have had it forgotten
            if function is None:
                continue
            try:
                function()
            except Exception as error:  # noqa: BLE001 - as an event loop does with its callbacks
                self.loop.call_exception_handler({"message": f"reading descriptor {descriptor}", "exception": error})

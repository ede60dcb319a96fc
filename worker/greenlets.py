"""Waiting among greenlets, where the SDK has put gevent's in the place of threads.

When one greenlet waits in `poll`, all of its thread stand still. So in a thread that has a hub, gevent's loop,
everybody waits there, and the others go on. Nothing here is imported or used where there is no gevent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["end_event_loop", "find_hub", "is_loop_of_threads", "sleep", "wait_for_greenlets"]


def end_event_loop() -> None:
    """Destroy the event loop of this thread, if gevent has opened one: whoever is forked makes one of its own.

    An inherited one would share its epoll descriptor with every sibling, and break when descriptors are closed.
    """
    module = sys.modules.get("gevent._hub_local")
    hub = module.get_hub_if_exists() if module is not None else None
    if hub is not None:
        hub.destroy(destroy_loop=True)


def find_hub() -> Any | None:
    """Return this thread's hub; None where there is none, or where we are the hub itself, which cannot wait."""
    module = sys.modules.get("gevent._hub_local")
    hub = module.get_hub_if_exists() if module is not None else None
    if hub is None or sys.modules["greenlet"].getcurrent() is hub:
        return None
    return hub


def is_loop_of_threads() -> bool:
    """Whether what `threading` starts are greenlets, so that to wait for greenlets is to wait for threads."""
    module = sys.modules.get("gevent.monkey")
    return module is not None and bool(module.is_module_patched("threading"))


def wait_for_greenlets(timeout_s: float) -> bool:
    """Let greenlets run until none of this thread can ever go on; whether that is so.

    Args:
        timeout_s: Longest wait in seconds.
    """
    hub = find_hub()
    return hub is None or bool(hub.join(timeout_s))


def sleep(
    hub: Any, read_fd: int, write_fd: int, timeout_s: float | None, sleepers: dict[object, Callable[[], object]]
) -> None:
    """Let other greenlets run until something may have changed.

    Args:
        hub: From `find_hub`.
        read_fd: Wakes us when there is something to read.
        write_fd: Wakes us when it can be written; -1 for none.
        timeout_s: Wakes us after so many seconds; None for never.
        sleepers: Gets a function, while we sleep, that wakes us from any thread.
    """
    waiter = sys.modules["gevent.hub"].Waiter(hub)
    alarm = hub.loop.async_()
    watchers = [alarm, hub.loop.io(read_fd, 1)]
    if write_fd >= 0:
        watchers.append(hub.loop.io(write_fd, 2))
    if timeout_s is not None:
        watchers.append(hub.loop.timer(timeout_s))
    sleepers[waiter] = alarm.send
    try:
        for watcher in watchers:
            watcher.start(waiter.switch, None)
        waiter.get()
    finally:
        del sleepers[waiter]
        for watcher in watchers:
            watcher.stop()
            watcher.close()

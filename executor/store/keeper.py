"""The store of a running service: opened at its start, looked after while it runs, closed at its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog

from executor.config.model import Config
from executor.errors import ExecutorError, StartupError
from executor.store.configured import open_configured_store
from executor.store.errors import StoreError
from executor.store.store import Store

__all__ = ["keep_store"]

SWEEP_INTERVAL_S: Final = 60.0

log = structlog.get_logger("executor.store")


@contextlib.asynccontextmanager
async def keep_store(config: Config, observe: Callable[[bool], None]) -> AsyncIterator[Store]:
    """Open the store that a configuration names; remove from plugin storage what has expired, every minute.

    Args:
        config: The configuration.
        observe: Told whether the store could be used, each time.

    Raises:
        StartupError: It cannot be opened.
    """
    try:
        store = await asyncio.to_thread(open_configured_store, config)
    except StoreError as error:
        raise StartupError(str(error)) from error
    log.info("store.opened", kind=store.kind, store=store.shown)
    ended = asyncio.Event()
    care = asyncio.create_task(_look_after(store, observe, ended))
    try:
        yield store
    finally:
        ended.set()  # not cancelled: a sweep runs in a thread, which would use what is closed below
        await care
        await asyncio.to_thread(store.close)


async def _look_after(store: Store, observe: Callable[[bool], None], ended: asyncio.Event) -> None:
    usable: bool | None = None
    while not ended.is_set():
        problem = await asyncio.to_thread(_sweep, store)
        if problem and usable is not False:
            log.error("store.unavailable", problem=problem)
        elif not problem and usable is False:
            log.info("store.available", store=store.shown)
        usable = not problem
        observe(usable)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), SWEEP_INTERVAL_S)


def _sweep(store: Store) -> str:
    """Remove what has expired; what is wrong with the store, empty when nothing is."""
    try:
        removed = store.storage.sweep()
    except ExecutorError as error:
        return str(error.__cause__ or error)
    if removed:
        log.debug("store.swept", removed=removed)
    return ""

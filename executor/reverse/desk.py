"""Where all reverse calls come to: who answers which of them, with one budget and one count for all invocations."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, final

from executor.catalog.plugin import Plugin
from executor.config.limits import Limits
from executor.config.reverse import Reverse
from executor.figures.calls import CallFigures
from executor.reverse.broker import CallBroker, Caller, CallLink
from executor.reverse.budget import ByteBudget
from executor.reverse.call import CallTarget
from executor.reverse.open_target import ClosableTarget
from executor.reverse.storage import StorageTarget
from executor.reverse.users import make_user_id
from executor.store.storage import PluginStorage, StorageScope
from protocol.messages import Invoke

__all__ = ["CallDesk"]

STORAGE_THREADS: Final = 8
"""Threads that wait for the store, which has as many connections: their own, so that a store that is slow, or locked by
another program, holds up nothing else that is done in threads."""


@final
class CallDesk:
    """What all invocations share.

    Args:
        config: The section `reverse`.
        target: Answers all calls but those of `session.storage`.
        storage: Keeps the values of plugins.
        figures: Counts calls.
    """

    def __init__(
        self, config: Reverse, target: ClosableTarget, *, storage: PluginStorage, figures: CallFigures
    ) -> None:
        self.memory = ByteBudget(config.memory)
        self.backlog = ByteBudget(config.memory)
        self._config = config
        self._target = target
        self._storage = storage
        self._figures = figures
        self._threads = ThreadPoolExecutor(STORAGE_THREADS, "storage")
        self._users = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the target open, even when the desk is retired meanwhile."""
        self._users += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                self._idle.set()

    async def retire(self) -> None:
        """Close the target once nobody uses it any more."""
        await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """Close the target now; no call is waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._target.close()

    def for_invocation(
        self,
        invoke: Invoke,
        plugin: Plugin,
        limits: Limits,
        tenant_id: str | None = None,
        *,
        session_id: str = "",
    ) -> Callable[[CallLink, Callable[[], None]], CallBroker]:
        """Return what makes the broker of one invocation, once there is a worker.

        Args:
            invoke: What the worker is told.
            plugin: What it runs.
            limits: Of the hook.
            tenant_id: Whose the hook is; that of the configuration if not given.
            session_id: Of the Dify daemon that asked for it; if none did, the invocation's id is given.
        """
        config = self._config
        tenant = tenant_id or config.tenant
        user_id = make_user_id(config.user, tenant_id=tenant, hook_id=invoke.hook_id, address=invoke.remote_addr)
        caller = Caller(
            tenant_id=tenant,
            plugin_id=f"{plugin.author}/{plugin.name}",
            hook_id=invoke.hook_id,
            invocation_id=invoke.invocation_id,
            user_id=user_id,
            session_id=session_id or invoke.invocation_id,
            permissions=plugin.permissions,
        )
        return lambda link, on_busy: CallBroker(self, caller, limits=limits, link=link, on_busy=on_busy)

    def find_target(self, kind: str, caller: Caller) -> CallTarget:
        """Return who answers a kind of call."""
        settings = self._config.storage
        if kind != "storage" or settings.kept == "target":
            return self._target
        hook_id = caller.hook_id if settings.scope == "hook" else None
        scope = StorageScope(caller.tenant_id, caller.plugin_id, hook_id)
        quota_bytes = min(caller.permissions.storage_bytes, settings.quota)
        return StorageTarget(self._storage, scope, quota_bytes, threads=self._threads)

    def begin(self, kind: str) -> None:
        """Count a call that begins."""
        self._figures.begin(kind)

    def finish(self, kind: str, outcome: str, seconds: float) -> None:
        """Count one that has ended."""
        self._figures.finish(kind, outcome, seconds)

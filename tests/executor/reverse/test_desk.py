"""What all invocations share of reverse calls: a store that hangs is waited for by those alone who have asked it."""

from __future__ import annotations

import asyncio
import threading
from typing import cast

from prometheus_client import CollectorRegistry

from executor.catalog.permissions import Permissions
from executor.config.reverse import Reverse
from executor.figures.calls import CallFigures
from executor.reverse.broker import Caller
from executor.reverse.desk import CallDesk
from executor.reverse.nobody import NobodyTarget
from executor.store.storage import PluginStorage, StorageScope
from tests.executor.reverse.targets.support import make_call

CALL = make_call("storage", {"opt": "exist", "key": "k"})
CALLER = Caller(
    tenant_id="t",
    plugin_id="author/name",
    hook_id="h",
    invocation_id="i",
    user_id="u",
    session_id="s",
    permissions=Permissions(frozenset({"storage"}), 1000),
)
MANY = 64
"""Calls at once: more than an event loop has threads for all its users, which are 32 at most."""


class HangingStorage:
    """Values that cannot be had for a while, as when another program has locked the database."""

    def __init__(self) -> None:
        self.free = threading.Event()

    def exist(self, _scope: StorageScope, _key: str) -> int:
        """Tell whether there is a value."""
        self.free.wait()
        return 1


def test_a_store_that_hangs_holds_up_nobody_else() -> None:
    """Whatever else is done in threads goes on: looking at what workers use, metrics, a reload."""

    async def test() -> None:
        storage = HangingStorage()
        figures = CallFigures(CollectorRegistry())
        desk = CallDesk(Reverse(), NobodyTarget(), storage=cast("PluginStorage", storage), figures=figures)

        async def ask() -> object:
            return await anext(desk.find_target("storage", CALLER).call(CALL))

        calls = [asyncio.create_task(ask()) for _ in range(MANY)]
        try:
            await asyncio.sleep(0)
            async with asyncio.timeout(30):
                await asyncio.to_thread(int)
        finally:
            storage.free.set()
        assert await asyncio.gather(*calls) == [{"data": True, "exist_num": 1}] * MANY
        await desk.close()

    asyncio.run(test())

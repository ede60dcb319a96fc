"""How many slots are born at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

from executor.config.isolation import Isolation
from executor.isolation.host import HostIsolation
from executor.supervisor.slots import BIRTHS_AT_ONCE, Slot, SlotPool
from executor.supervisor.zygote import SlotClient, Zygote


class Midwife(SlotPool):
    """Slots of this pool are born when the test says so.

    Attributes:
        births: Those that are on their way.
    """

    def __init__(self, host: HostIsolation, zygote: Zygote) -> None:
        super().__init__("midwife", host, self._no_zygote)
        self._parent = zygote
        self.births: list[asyncio.Future[Slot]] = []

    async def _create(self) -> Slot:
        birth: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self.births.append(birth)
        return await birth

    async def _no_zygote(self) -> Zygote:
        return self._parent


@contextlib.contextmanager
def new_slot() -> Iterator[tuple[Zygote, Slot]]:
    """A slot that seems to be alive."""
    loop = asyncio.get_running_loop()
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    zygote, client = Zygote("zygote", pairs[0][0], loop), SlotClient("slot", pairs[1][0], loop)
    try:
        yield zygote, Slot(zygote, zygote.new_child(()), client, number=0, group=None)
    finally:
        for one in (zygote, client):
            one.close()
        for _, theirs in pairs:
            theirs.close()


def test_a_few_slots_are_born_at_once() -> None:
    """Whoever waits for a turn takes a slot that has become idle meanwhile, and has none born."""

    async def run() -> None:
        with (
            contextlib.closing(HostIsolation(Isolation(off=("control_groups",)))) as host,
            new_slot() as (zygote, slot),
        ):
            pool = Midwife(host, zygote)
            asked = [asyncio.create_task(pool.acquire()) for _ in range(BIRTHS_AT_ONCE + 2)]
            await asyncio.sleep(0)
            assert len(pool.births) == BIRTHS_AT_ONCE
            pool.births[0].set_result(slot)
            assert await asked[0] is slot
            await asyncio.sleep(0)
            assert len(pool.births) == BIRTHS_AT_ONCE + 1
            pool.release(slot)
            pool.births[1].set_exception(OSError("no descriptors"))
            assert await asked[BIRTHS_AT_ONCE + 1] is slot
            assert len(pool.births) == BIRTHS_AT_ONCE + 1
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(run())

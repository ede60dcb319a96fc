"""Slots: places for one worker at a time, kept for the next one as long as they are well.

A slot is dear to make (namespaces, a control group that it moves into) and cheap to use again. The pool of one plugin
makes one whenever none is idle; how many there are is bounded by admission. Idle ones are ended after a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from executor.config.limits import Limits
from executor.isolation.control_groups import ControlGroup, GroupUsage
from executor.isolation.host import HostIsolation
from executor.supervisor.control import Child
from executor.supervisor.process_tree import look_at_processes, waited_cpu_s
from executor.supervisor.zygote import SlotClient, Zygote

__all__ = ["IDLE_TIME_S", "LockdownError", "Slot", "SlotPool", "remove_group"]

log = structlog.get_logger("executor.slots")

IDLE_TIME_S: Final = 30.0
"""How long a slot is kept without a worker."""


class LockdownError(Exception):
    """A slot does not have the layers of isolation that are required; the text names one of them."""


READY_TIME_S: Final = 20.0
"""Longest birth of a slot; moving into a control group takes some 10 ms, on a busy machine much longer."""

BIRTHS_AT_ONCE: Final = 8
"""Slots of one plugin that are being born. The kernel moves one process after another into control groups, so that more
of them would only wait there, while their time runs out."""

END_TIME_S: Final = 10.0
"""Longest wait for the end of a slot that was killed. Then it hangs in the kernel."""

REMOVE_TRIES: Final = 500
REMOVE_PAUSE_S: Final = 0.02
"""A control group can be busy for a moment after its last process has been waited for."""


class Slot:
    """One slot.

    Args:
        zygote: Its parent.
        child: What the zygote knows of it.
        client: Its control socket.
        number: Picks its host ids.
        group: Its control group, where there are any.

    Attributes:
        spoilt: Whether it must not get another worker.
        layers: What was seen of each layer of isolation, from inside.
        cpu_before_s: CPU seconds that its earlier workers have used, where no control group counts.
        made_s: How long it took to make it; taken by its first worker.
    """

    def __init__(
        self, zygote: Zygote, child: Child, client: SlotClient, *, number: int, group: ControlGroup | None
    ) -> None:
        self.client = client
        self.number = number
        self.group = group
        self.spoilt = False
        self.layers: dict[str, object] = {}
        self.cpu_before_s = 0.0
        self.made_s: float | None = None
        self._zygote = zygote
        self._child = child

    @property
    def usable(self) -> bool:
        """Whether another worker can be forked in it. When its zygote is lost, its own end is near, if not yet seen."""
        return self.client.alive and self._zygote.alive and not self.spoilt

    @property
    def reusable(self) -> bool:
        """Whether another worker should be."""
        return self.usable and not self._zygote.retired

    def limit(self, limits: Limits) -> None:
        """Put the limits of the next invocation in force, and begin to measure anew.

        Raises:
            OSError: The kernel refused.
        """
        if self.group is not None:
            self.group.apply(memory_bytes=limits.memory, processes=limits.processes, cpu_share=limits.cpu_share)
            self.group.reset()
        if self.client.pid is not None and (self.group is None or not self.group.counts_cpu):
            self.cpu_before_s = waited_cpu_s(self.client.pid)

    def measure_anew(self, pid: int) -> None:
        """Begin to measure anew, with the worker that is there; blocks for some milliseconds without control groups.

        Args:
            pid: Of the worker.

        Raises:
            OSError: The group is gone.
        """
        if self.group is not None:
            self.group.reset()
        if self.client.pid is not None and (self.group is None or not self.group.counts_cpu):
            self.cpu_before_s = look_at_processes(self.client.pid, pid)[0]

    def usage(self) -> GroupUsage | None:
        """What was used since `limit`, where a control group counts it."""
        try:
            return self.group.usage() if self.group is not None else None
        except OSError:
            return None

    def kill_worker(self, child: Child) -> None:
        """Have the worker and everything in the slot killed; without its share of the processor that would last."""
        if self.group is not None:
            with contextlib.suppress(OSError):
                self.group.unthrottle()
        self.client.kill(child)

    def kill(self) -> None:
        """Have the slot killed, and with it, by the kernel, everything in it."""
        self.spoilt = True
        self._zygote.kill(self._child)

    async def end(self) -> None:
        """End the slot, and remove its control group."""
        self.spoilt = True
        self.client.close()
        self._zygote.kill(self._child)
        if not self._child.exited.done():
            await asyncio.wait({self._child.exited}, timeout=END_TIME_S)
        if not self._child.exited.done():
            log.error("slot.not_ended", slot=self.client.name, pid=self.client.pid)
            if self._child.forked_at is None:  # nor was it begun: its zygote does not work any more
                self._zygote.close()
        if self.group is not None:
            await remove_group(self.group)


class SlotPool:
    """The slots of one plugin.

    Args:
        name: Of the plugin.
        host: Where ids and control groups come from.
        wait_zygote: Finds the plugin's zygote.

    Attributes:
        busy: How many slots somebody has.
    """

    def __init__(self, name: str, host: HostIsolation, wait_zygote: Callable[[], Awaitable[Zygote]]) -> None:
        self._name = name
        self._host = host
        self._wait_zygote = wait_zygote
        self._idle: list[tuple[Slot, asyncio.TimerHandle]] = []
        self._births = asyncio.Semaphore(BIRTHS_AT_ONCE)
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False
        self.busy = 0

    @property
    def idle(self) -> int:
        """How many slots wait for a worker."""
        return len(self._idle)

    async def acquire(self) -> Slot:
        """Return a slot that nobody else has; `release` it.

        Raises:
            LockdownError: The slot is not isolated as required.
            ParentLostError: There is no zygote, or the slot was not ready in time.
            OSError: No descriptors left, or the kernel refused a control group.
            OutOfSlotsError: There are no host ids left.
        """
        slot = self._take_idle()
        if slot is None:
            async with self._births:
                slot = self._take_idle() or await self._create()  # one may have become idle meanwhile
        self.busy += 1
        return slot

    def release(self, slot: Slot) -> None:
        """Take a slot back, when its worker is gone."""
        self.busy -= 1
        if not slot.reusable or self._closed:
            self._discard(slot)
            return
        timer = asyncio.get_running_loop().call_later(IDLE_TIME_S, self._expire, slot)
        self._idle.append((slot, timer))

    def close(self) -> None:
        """End all idle slots, and every other one when it is released."""
        self._closed = True
        self.end_idle()

    def end_idle(self) -> None:
        """End all idle slots."""
        for slot, timer in self._idle:
            timer.cancel()
            self._discard(slot)
        self._idle.clear()

    async def wait_ended(self) -> None:
        """Wait until every slot that was to end has ended."""
        while self._ending:
            await asyncio.wait(self._ending)

    def _take_idle(self) -> Slot | None:
        while self._idle:
            slot, timer = self._idle.pop()
            timer.cancel()
            if slot.usable:
                return slot
            self._discard(slot)
        return None

    async def _create(self) -> Slot:
        zygote = await self._wait_zygote()
        began = time.monotonic()
        number = self._host.take_number()
        group: ControlGroup | None = None
        slot: Slot | None = None
        try:
            group = self._host.create_group(f"slot-{number}")
            descriptors = group.open_procs() if group is not None else []
            child, client = zygote.fork_slot(self._name, number, groups=descriptors, off=self._host.off)
            slot = Slot(zygote, child, client, number=number, group=group)
            report = await client.wait_ready(READY_TIME_S)
            slot.layers = self._check(report.get("layers"))
            slot.spoilt = report.get("reusable") is not True  # it ends by itself after one worker
            slot.made_s = time.monotonic() - began
        except BaseException:
            if slot is not None:
                self._discard(slot)
            else:
                self._give_back(number, group)
            raise
        return slot

    def _check(self, seen: object) -> dict[str, object]:
        """Believe a slot only if all that is required holds."""
        layers = seen if isinstance(seen, dict) else {}
        missing = self._host.missing(layers)
        if missing:
            entry = layers.get(missing[0])
            raise LockdownError(f"{missing[0]}: {entry.get('text') if isinstance(entry, dict) else 'not reported'}")
        return layers

    def _expire(self, slot: Slot) -> None:
        self._idle = [entry for entry in self._idle if entry[0] is not slot]
        self._discard(slot)

    def _discard(self, slot: Slot) -> None:
        task = asyncio.get_running_loop().create_task(self._end(slot))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, slot: Slot) -> None:
        await slot.end()
        self._host.give_number(slot.number)

    def _give_back(self, number: int, group: ControlGroup | None) -> None:
        """Undo a slot that was never asked for."""
        if group is not None:
            with contextlib.suppress(OSError):
                group.remove()
        self._host.give_number(number)


async def remove_group(group: ControlGroup) -> None:
    """Remove a control group whose processes have ended, or are about to."""
    for _ in range(REMOVE_TRIES):
        try:
            group.remove()
        except OSError:
            await asyncio.sleep(REMOVE_PAUSE_S)
        else:
            return
    log.error("slot.group_not_removed", group=str(group))

"""Admission: who may start an invocation now, who waits, who is turned away.

Two limits hold at any time: how many invocations run in all, and how many run for one hook. Requests over either
limit wait in their hook's own queue; the queues are served round robin, so that a hook with a long queue delays
nobody but itself. A request that cannot be queued, or waits too long, is turned away with the outcome that names
the limit it met: the hook's own (429) or the executor's (503).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from executor.errors import number_of
from executor.outcome import Outcome

__all__ = ["Admission", "RejectedError"]


class RejectedError(Exception):
    """The request was turned away.

    Attributes:
        outcome: `QUEUE_HOOK` or `QUEUE_FULL`.
        detail: Which limit was met, with its value.
    """

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


@dataclass(slots=True)
class _Lane:
    """One hook's share: how many run, and who waits."""

    limit: int
    running: int = 0
    waiters: deque[asyncio.Future[None]] = field(default_factory=deque)


class Admission:
    """Counts running invocations and queues the others, fairly between hooks.

    Args:
        concurrency: Most invocations running at once, in all.
        queue_length: Most requests waiting at once, in all.
        queue_time_s: Longest wait of one request, in seconds.
    """

    def __init__(self, *, concurrency: int, queue_length: int, queue_time_s: float) -> None:
        self.concurrency = concurrency
        self.queue_length = queue_length
        self.queue_time_s = queue_time_s
        self.running = 0
        self.queued = 0
        self._lanes: dict[str, _Lane] = {}
        self._turns: dict[str, None] = {}  # an ordered set: hooks that could start one more
        self._idle: asyncio.Future[None] | None = None

    async def acquire(self, hook_id: str, *, concurrency: int, queue_length: int) -> None:
        """Wait for permission to run one invocation of `hook_id`; give it back with `release`.

        Raises:
            RejectedError: The queues are full, or the wait took longer than `queue_time_s`.
        """
        lane = self._lanes.get(hook_id)
        if lane is None:
            lane = self._lanes[hook_id] = _Lane(limit=concurrency)
        lane.limit = concurrency
        if not lane.waiters and lane.running < lane.limit and self.running < self.concurrency:
            lane.running += 1
            self.running += 1
            return
        self._refuse_if_full(lane, queue_length)
        waiter = asyncio.get_running_loop().create_future()
        lane.waiters.append(waiter)
        self.queued += 1
        self._give_turn(hook_id, lane)
        self._start_waiting()
        try:
            async with asyncio.timeout(self.queue_time_s):
                await waiter
        except TimeoutError:
            if not _granted(waiter):
                raise self._rejection(lane, f"waited {self.queue_time_s:g} s") from None
        except BaseException:
            if _granted(waiter):
                self.release(hook_id)
            raise
        finally:
            self.queued -= 1
            if waiter in lane.waiters:
                lane.waiters.remove(waiter)
            self._forget_if_unused(hook_id, lane)

    def release(self, hook_id: str) -> None:
        """Give back what `acquire` gave, and let the next in turn start."""
        lane = self._lanes[hook_id]
        lane.running -= 1
        self.running -= 1
        self._give_turn(hook_id, lane)
        self._start_waiting()
        self._forget_if_unused(hook_id, lane)
        if self.running == 0 and self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    async def wait_idle(self) -> None:
        """Wait until no invocation runs."""
        if self.running == 0:
            return
        if self._idle is None:
            self._idle = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._idle)

    def _refuse_if_full(self, lane: _Lane, queue_length: int) -> None:
        if len(lane.waiters) >= queue_length:
            raise self._rejection(lane, f"{number_of(queue_length, 'request')} of this hook in the queue already")
        if self.queued >= self.queue_length:
            raise RejectedError(Outcome.QUEUE_FULL, f"{number_of(self.queue_length, 'request')} in the queue already")

    def _rejection(self, lane: _Lane, why: str) -> RejectedError:
        if lane.running >= lane.limit:
            return RejectedError(Outcome.QUEUE_HOOK, f"{why}; the hook runs {lane.running} of {lane.limit}")
        return RejectedError(Outcome.QUEUE_FULL, f"{why}; {self.running} of {self.concurrency} workers run")

    def _give_turn(self, hook_id: str, lane: _Lane) -> None:
        """Put the hook at the end of the round if it has somebody waiting and room to start one."""
        if lane.waiters and lane.running < lane.limit:
            self._turns.setdefault(hook_id)

    def _start_waiting(self) -> None:
        """Let waiting requests start while there is room, one per hook and turn."""
        while self._turns and self.running < self.concurrency:
            hook_id = next(iter(self._turns))
            del self._turns[hook_id]
            lane = self._lanes[hook_id]
            waiter = _next_waiter(lane)
            if waiter is not None:
                lane.running += 1
                self.running += 1
                waiter.set_result(None)
            self._give_turn(hook_id, lane)

    def _forget_if_unused(self, hook_id: str, lane: _Lane) -> None:
        if lane.running == 0 and not lane.waiters and self._lanes.get(hook_id) is lane:
            del self._lanes[hook_id]
            self._turns.pop(hook_id, None)


def _granted(waiter: asyncio.Future[None]) -> bool:
    return waiter.done() and not waiter.cancelled()


def _next_waiter(lane: _Lane) -> asyncio.Future[None] | None:
    while lane.waiters:
        waiter = lane.waiters.popleft()
        if not waiter.done():
            return waiter
    return None

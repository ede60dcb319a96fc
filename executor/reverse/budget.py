"""Bytes that all calls together may hold: whoever wants more waits, in the order in which they came."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import final

__all__ = ["ByteBudget", "Hold"]


@final
class ByteBudget:
    """Hands out bytes.

    Args:
        total: Bytes that may be held. A wish for more than all is granted when nobody else holds any.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held(self) -> int:
        """Bytes that are held."""
        return self._held

    async def take(self, size: int) -> Hold:
        """Wait for so many bytes; the caller gives them back."""
        if not self._waiting and self._fits(size):
            self._held += size
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._release(size)
                else:
                    with contextlib.suppress(ValueError):
                        self._waiting.remove((size, turn))
                    self._serve()
                raise
        return Hold(self, size)

    def try_take(self, size: int) -> Hold | None:
        """Take so many bytes if they are there just now, and nothing otherwise."""
        if self._held + size > self.total:
            return None
        self._held += size
        return Hold(self, size)

    def _release(self, size: int) -> None:
        self._held -= size
        self._serve()

    def _fits(self, size: int) -> bool:
        return self._held == 0 or self._held + size <= self.total

    def _serve(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._held += size
                turn.set_result(None)


@final
class Hold:
    """Bytes that somebody holds."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: ByteBudget, size: int) -> None:
        self._budget = budget
        self._size = size

    def shrink(self, size: int) -> None:
        """Hold no more than so many."""
        if size < self._size:
            more, self._size = self._size - size, size
            self._budget._release(more)  # noqa: SLF001 - its own

    def release(self) -> None:
        """Give them back; again has no effect."""
        size, self._size = self._size, 0
        if size:
            self._budget._release(size)  # noqa: SLF001 - its own

"""Somebody who answers reverse calls in the same process, for tests of what makes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from worker.calls import CallError, make_plain

__all__ = ["PlayedCall", "PlayedCalls"]


class PlayedCall:
    """A call that was made."""

    def __init__(self, items: Iterable[object]) -> None:
        self._items = deque(items)
        self.over = False
        self.timeouts: list[float | None] = []

    def read(self, timeout_s: float | None = None) -> tuple[object, ...]:
        """The next item: an exception is raised, None is a wait that was too long."""
        self.timeouts.append(timeout_s)
        if not self._items:
            self.close()
            return ()
        item = self._items.popleft()
        if isinstance(item, Exception):
            raise item
        return () if item is None else (item,)

    def close(self) -> None:
        """Nothing more is read."""
        self.over = True


class PlayedCalls:
    """Answers calls.

    Args:
        answers: The items of each answer, in the order of the calls.

    Attributes:
        made: Kind and request of each call.
        calls: The calls.
    """

    def __init__(self, *answers: Iterable[object]) -> None:
        self._answers = deque(answers)
        self.made: list[tuple[str, dict[str, Any]]] = []
        self.calls: list[PlayedCall] = []

    def open(self, kind: str, request: Mapping[str, object]) -> Any:
        """Make a call; one that has no answer cannot be made."""
        self.made.append((kind, make_plain(request)))
        if not self._answers:
            raise CallError(f"{kind}: nobody is there")
        call = PlayedCall(self._answers.popleft())
        self.calls.append(call)
        return call

"""Errors that stop a command, with the exit status that it ends with, and how they name and count what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

__all__ = ["ExecutorError", "StartupError", "name_some", "number_of", "tell_some"]

MOST_NAMED: Final = 10
"""Names in a message. There may be a hundred thousand hooks."""

MOST_TOLD: Final = 20
"""Problems of hooks that are told together."""


class ExecutorError(Exception):
    """Something that a command cannot go on with; its text is what the user needs to know.

    Attributes:
        code: Stable, dotted name.
        exit_status: Of the command.
    """

    code: ClassVar[str] = "executor.error"
    exit_status: ClassVar[int] = 1


class StartupError(ExecutorError):
    """The service cannot start."""

    code = "service.startup"


def name_some(names: Sequence[str]) -> str:
    """Join names for a message: the first MOST_NAMED, and how many more there are; nothing for none."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def tell_some(problems: Sequence[str]) -> list[str]:
    """Keep the first MOST_TOLD of problems that are told a line each, and how many more there are."""
    more = len(problems) - MOST_TOLD
    return [*problems[:MOST_TOLD], *([f"and {number_of(more, 'more problem')}"] if more > 0 else [])]


def number_of(number: int, one: str, several: str | None = None) -> str:
    """Write a number of things for people: `1 hook`, `2 hooks`.

    Args:
        number: How many there are.
        one: What one of them is called.
        several: What others are called, where it is not that with an s.
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"

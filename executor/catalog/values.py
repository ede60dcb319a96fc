"""Plain, JSON-like data: what a setting may hold, whatever its type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

__all__ = ["MAX_DEPTH", "NotPlainError", "copy_plain"]

MAX_DEPTH: Final = 16
"""Levels of lists and maps in one setting."""

MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**64 - 1
"""What msgpack can carry."""


class NotPlainError(ValueError):
    """A value is not plain data.

    Attributes:
        found: What it is instead; never the value itself.
        expected: What would have been right.
    """

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.found = found
        self.expected = expected


def copy_plain(value: object, depth: int = MAX_DEPTH) -> object:
    """Copy plain data deeply, checking it on the way.

    Args:
        value: Null, booleans, integers of at most 64 bits, finite numbers, text, and lists and maps of these.
        depth: Levels of lists and maps allowed.

    Returns:
        The same of `dict`, `list` and scalars only, shared with nothing.

    Raises:
        NotPlainError: It holds something else.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _check_text(value)
    if isinstance(value, int):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise NotPlainError("a longer integer", "an integer of at most 64 bits")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotPlainError("infinity or not-a-number", "a finite number")
        return value
    if depth == 0 and isinstance(value, Mapping | list | tuple):
        raise NotPlainError("deeper ones", f"lists and maps nested at most {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        return {_check_key(key): copy_plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copy_plain(item, depth - 1) for item in value]
    raise NotPlainError(f"a {type(value).__name__}", "a text, number, boolean, list, map or null")


def _check_key(key: object) -> str:
    if not isinstance(key, str):
        raise NotPlainError("a map with other keys", "a map with texts as keys")
    return _check_text(key)


def _check_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotPlainError("a text with half of a surrogate pair", "a text of whole characters") from None
    return text

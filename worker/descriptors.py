"""Closing what a forked child must not have."""

from __future__ import annotations

from collections.abc import Iterable
from os import closerange
from typing import Final

__all__ = ["close_other_descriptors"]

_LAST: Final = 2**31 - 1


def close_other_descriptors(kept: Iterable[int]) -> None:
    """Close every descriptor of this process but these."""
    first = 0
    for descriptor in sorted(kept):
        if first < descriptor:  # an empty range with nothing below it closes everything
            closerange(first, descriptor)
        first = descriptor + 1
    closerange(first, _LAST)

"""Closing what a forked child must not have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from worker.lockdown.calls import close_range

__all__ = ["close_other_descriptors"]

_LAST: Final = 2**31 - 1


def close_other_descriptors(kept: Iterable[int]) -> None:
    """Close every descriptor of this process but these.

    Not with `os.closerange`: a Python that was built for older C libraries makes a call for each number.
    """
    first = 0
    for descriptor in sorted(kept):
        if first < descriptor:
            close_range(first, descriptor - 1)
        first = descriptor + 1
    close_range(first, _LAST)

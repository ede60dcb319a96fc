"""What is known of how CPython keeps small objects: in pools of objects of one size, which lie in arenas.

Source: Objects/obmalloc.c and pycore_obmalloc.h of CPython 3.10 to 3.14.
"""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import c_uint32
from typing import Final

__all__ = ["ALIGNMENT", "POOL", "POOL_HEADER", "SMALL", "list_arenas"]

POOL: Final = 16_384
"""Bytes of a pool, which begins at a multiple of that (POOL_SIZE)."""

POOL_HEADER: Final = 48
"""Bytes before the first object of a pool (POOL_OVERHEAD)."""

ALIGNMENT: Final = 16
"""Sizes of objects are rounded up to a multiple of that."""

SMALL: Final = 512
"""Bytes of the largest object that comes from a pool; the C library has others (SMALL_REQUEST_THRESHOLD)."""


def list_arenas(start: int, end: int) -> Iterator[tuple[int, int]]:
    """List where small objects lie in memory of this process, as start and end: of each arena what has pools in use.

    Args:
        start: First address, which can be read like all up to the end.
        end: The one after the last.
    """
    begin = after = 0
    arena = -1
    for pool in range(-(-start // POOL) * POOL, end - POOL + 1, POOL):
        found = _find_arena(pool)
        if found < 0:
            continue
        if found != arena and pool != after:
            if after:
                yield begin, after
            begin = pool
        arena, after = found, pool + POOL
    if after:
        yield begin, after


def _find_arena(pool: int) -> int:
    """Tell the arena of the pool that begins here, going by all that its header says; -1 where there is none in use."""
    used, _, free_low, free_high, _, _, _, _, arena, kind, reached, most = (c_uint32 * 12).from_address(pool)
    size = ALIGNMENT * (kind + 1)
    free = free_high << 32 | free_low
    sound = (
        size <= SMALL
        and 0 < used <= (POOL - POOL_HEADER) // size
        and most == POOL - size
        and POOL_HEADER < reached <= POOL
        and (free == 0 or pool + POOL_HEADER <= free < pool + POOL)
    )
    return arena if sound else -1

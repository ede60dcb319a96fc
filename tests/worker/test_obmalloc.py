"""Where small objects lie, as the interpreter of the tests keeps them."""

from __future__ import annotations

import ctypes
import mmap
from array import array

from worker.obmalloc import POOL, POOL_HEADER, _find_arena, list_arenas


def test_arenas_are_told_from_other_memory() -> None:
    """Where a pool of small objects begins, is seen from its header; zeros, text and near misses are none."""
    one = object()
    pool = id(one) // POOL * POOL
    assert _find_arena(pool) >= 0
    header = array("I", ctypes.string_at(pool, POOL_HEADER))
    header[2] = header[3] = 0  # no free block
    room = mmap.mmap(-1, POOL)
    address = ctypes.addressof(ctypes.c_char.from_buffer(room))
    assert _find_arena(address) == -1
    room[:POOL_HEADER] = header.tobytes()
    assert _find_arena(address) == header[8]
    for position, value in {0: 0, 3: 1, 9: 32, 10: 47, 11: header[11] + 16}.items():
        other = header[:]
        other[position] = value
        room[:POOL_HEADER] = other.tobytes()
        assert _find_arena(address) == -1, position


def test_arenas_are_listed() -> None:
    """From their first pool in use to their last one; what lies between two others is not theirs."""
    pool = id(object()) // POOL * POOL
    header = ctypes.string_at(pool, POOL_HEADER)
    room = mmap.mmap(-1, 12 * POOL)
    start = ctypes.addressof(ctypes.c_char.from_buffer(room))
    first = -(-start // POOL) * POOL

    def put(position: int, arena: int) -> None:
        words = array("I", header)
        words[2] = words[3] = 0
        words[8] = arena
        offset = first + position * POOL - start
        room[offset : offset + POOL_HEADER] = words.tobytes()

    for position, arena in {1: 7, 3: 7, 5: 8, 6: 9, 9: 9}.items():
        put(position, arena)
    found = [((low - first) // POOL, (high - first) // POOL) for low, high in list_arenas(start, start + len(room))]
    assert found == [(1, 4), (5, 10)]
    assert [*list_arenas(first, first + POOL)] == []

"""Puts the code that every worker runs close together in memory.

Theory of operation
-------------------
The interpreter writes to code as it runs it: which way a branch went, how often an instruction met what it was not
specialised for. A worker runs some three hundred functions, whose code lies anywhere among that of thousands which it
does not run, so that nearly each of them costs the copy of a page. So a zygote makes the code objects of those
functions anew, one after the other, and gives them to the functions that had the old ones.

A new object is put wherever there is room for one of its size. So the room that is left between others is taken up
first, and given back afterwards.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import Final

from worker.obmalloc import ALIGNMENT, POOL, POOL_HEADER, SMALL

__all__ = ["compact", "list_codes"]

_LARGEST: Final = 8192
"""Bytes of the largest code that is cared for; that of a function has some hundreds."""

_ROOM: Final = 1 << 25
"""Bytes that are taken up at most, should memory not be what it is thought to be."""

_sbrk: Final = ctypes.PyDLL(None).sbrk
_sbrk.restype = ctypes.c_size_t

_EMPTY: Final = sys.getsizeof(b"")


def compact(addresses: Iterable[int]) -> list[CodeType]:
    """Make code objects anew, close together and in this order, for the functions that have them.

    Args:
        addresses: Of code objects (`id`); those of others, and of code that no function has, are passed over.

    Returns:
        The new ones.
    """
    functions = _list_functions()
    codes = list_codes(functions)
    wanted = {address: codes[address] for address in addresses if address in codes}
    if not wanted:
        return []
    fresh: dict[int, CodeType] = {}
    fillers = _fill_gaps({sys.getsizeof(code) for code in wanted.values()})
    for code in wanted.values():
        _renew(code, wanted, fresh)
    for function in functions:
        new = fresh.get(id(function.__code__))
        if new is not None:
            function.__code__ = new
    del fillers
    return list(fresh.values())


def list_codes(functions: Iterable[FunctionType]) -> dict[int, CodeType]:
    """List the code of functions, and of those within it, by address (`id`)."""
    found: dict[int, CodeType] = {}
    todo = [one.__code__ for one in functions]
    while todo:
        code = todo.pop()
        if id(code) not in found:
            found[id(code)] = code
            todo += [one for one in code.co_consts if type(one) is CodeType]
    return found


def _list_functions() -> list[FunctionType]:
    """List all functions, also those that `gc.freeze` has put aside; nothing is put aside afterwards."""
    gc.unfreeze()
    return [one for one in gc.get_objects() if type(one) is FunctionType]


def _renew(code: CodeType, wanted: dict[int, CodeType], fresh: dict[int, CodeType]) -> CodeType:
    new = fresh.get(id(code))
    if new is None:
        parts = [
            _renew(one, wanted, fresh) if type(one) is CodeType and id(one) in wanted else one for one in code.co_consts
        ]
        new = fresh[id(code)] = code.replace(co_consts=tuple(parts))
    return new


def _fill_gaps(sizes: set[int]) -> list[object]:
    """Take up the room for objects of such sizes that there is between others."""
    fillers: list[object] = [None] * (_ROOM // min(sizes))  # as it grew, it would leave gaps itself
    count, room = 0, _ROOM

    def take(size: int) -> int:
        nonlocal count, room
        fillers[count] = filler = b"?" * (size - _EMPTY)
        count, room = count + 1, room - size
        return id(filler)

    top = _sbrk(0)
    for size in range(_LARGEST, SMALL, -ALIGNMENT):
        while take(size) < top and room > 0:
            pass
    for size in {-(-size // ALIGNMENT) * ALIGNMENT for size in sizes if size <= SMALL}:
        while take(size) % POOL != POOL_HEADER and room > 0:
            pass
    return fillers

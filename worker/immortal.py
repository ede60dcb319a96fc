"""Keeps memory shared with what is forked: objects that exist already are not counted any more.

Theory of operation
-------------------
Python counts references in the objects themselves, so that reading an object writes to it, and the kernel copies the
page for the process that did. That was half of the page faults of a worker. Since Python 3.12 an object whose count has
a certain value is *immortal* (PEP 683): its count is never changed. The interpreter makes its own constants so; a
zygote, before it forks anything, does the same with everything that it has.

Such objects are never freed. That costs nothing: they belong to modules that stay, and workers are short-lived. They
can be changed like others, and what is made later is counted and freed as ever.

Older versions of Python, and those without the lock of the interpreter, know other rules; there nothing is done.
"""

from __future__ import annotations

import gc
import sys
from ctypes import c_char, c_size_t, c_uint32
from itertools import compress
from types import CodeType
from typing import Final

from worker.native import make_immortal

__all__ = ["SUPPORTED", "immortalise", "share_memory"]

SUPPORTED: Final = (
    sys.implementation.name == "cpython"
    and sys.version_info >= (3, 12)
    and sys.maxsize > 2**32
    and "t" not in sys.abiflags
)
"""Whether this interpreter has immortal objects with the count in the first 32 bits, as 3.12 to 3.14 have."""

_ITEMS: Final = 24
"""Where a list has the address of the addresses of what is in it (`PyListObject`: count, type, size, items)."""

_WORD: Final = 4
_MEMORY: Final = 2**48
"""Bytes of address space that processes have."""


def share_memory() -> None:
    """Get a process ready for being forked: whatever it has by now is neither counted nor looked at by collections."""
    gc.collect()
    immortalise()
    gc.freeze()


def immortalise() -> int:
    """Make every object immortal that the garbage collector knows, or that can be reached from one.

    Those are left out, with what only they lead to, that `gc.freeze` has put aside: they were there at an earlier call.

    Returns:
        How many objects it were.
    """
    if not SUPPORTED:
        return 0
    mark = c_uint32.from_address(id(None)).value
    count = 0
    found = gc.get_objects()
    while found:
        fresh = _mark(found, mark)
        count += len(fresh)
        found = gc.get_referents(*fresh)
        for one in fresh:
            if type(one) is CodeType:
                found += _list_parts(one)
    return count


def _mark(found: list[object], mark: int) -> list[object]:
    """Mark objects; those that were not marked before, each once."""
    if make_immortal is not None:
        fresh = bytearray(len(found))
        addresses = c_size_t.from_address(id(found) + _ITEMS).value
        make_immortal(addresses, len(found), mark, (c_char * len(fresh)).from_buffer(fresh))
        return [*compress(found, fresh)]
    words = (c_uint32 * (_MEMORY // _WORD)).from_address(0)
    news = []
    for one in found:
        index = id(one) // _WORD
        if words[index] != mark:
            words[index] = mark
            news.append(one)
    return news


def _list_parts(code: CodeType) -> list[object]:
    """What a code object refers to, which the garbage collector does not ask it for."""
    names = (*code.co_varnames, *code.co_cellvars, *code.co_freevars)
    texts = (code.co_filename, code.co_name, code.co_qualname)
    return [code.co_consts, code.co_names, code.co_linetable, code.co_exceptiontable, *texts, *names]

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
from ctypes import c_uint32
from types import CodeType
from typing import Final

__all__ = ["SUPPORTED", "immortalise", "share_memory"]

SUPPORTED: Final = (
    sys.implementation.name == "cpython"
    and sys.version_info >= (3, 12)
    and sys.maxsize > 2**32
    and "t" not in sys.abiflags
)
"""Whether this interpreter has immortal objects with the count in the first 32 bits, as 3.12 to 3.14 have."""

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
    words = (c_uint32 * (_MEMORY // _WORD)).from_address(0)
    mark = words[id(None) // _WORD]
    count = 0
    found = gc.get_objects()
    while found:
        fresh = []
        for one in found:
            index = id(one) // _WORD
            if words[index] != mark:
                words[index] = mark
                fresh.append(one)
        count += len(fresh)
        found = gc.get_referents(*fresh)
        for one in fresh:
            if type(one) is CodeType:
                found += _list_parts(one)
    return count


def _list_parts(code: CodeType) -> list[object]:
    """What a code object refers to, which the garbage collector does not ask it for."""
    names = (*code.co_varnames, *code.co_cellvars, *code.co_freevars)
    texts = (code.co_filename, code.co_name, code.co_qualname)
    return [code.co_consts, code.co_names, code.co_linetable, code.co_exceptiontable, *texts, *names]

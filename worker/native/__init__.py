"""The functions in C of this folder, where they were built; without them everything works, only slower."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Final

__all__ = ["WORKER", "back", "make_immortal", "serve"]

WORKER: Final = -2
"""What `serve` returns in the worker."""


def _load() -> ctypes.PyDLL | None:
    try:
        return ctypes.PyDLL(os.path.join(os.path.dirname(__file__), "native.so"))
    except OSError:
        return None


_library: Final = _load()

back: Final[Callable[..., int] | None] = None if _library is None else _library.back
"""Replaces memory by mappings of a file: descriptor, `struct region` for each part, how many; 0, or an errno."""

make_immortal: Final[Callable[..., None] | None] = None if _library is None else _library.make_immortal
"""Makes objects immortal: their addresses (8 bytes each), how many, the mark, and a byte for each: 0 if it was so."""

serve: Final[Callable[..., int] | None] = None if _library is None else _library.serve
"""Serves FORK: the link, room for another command, its size, room for descriptors, a name; see `template.c`."""

if _library is not None:
    _library.back.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    _library.make_immortal.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_void_p)
    _library.make_immortal.restype = None
    _library.serve.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p)
    _library.serve.restype = ctypes.c_ssize_t

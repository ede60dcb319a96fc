"""Forking without what Python does in a child for the sake of threads: for processes of one thread.

`os.fork` makes new locks in the child and runs every hook of `os.register_at_fork`. That writes to some 200 pages of
memory, which the kernel has to copy: more than half the price of a fork (decision 0013). Where there is one thread,
nothing of it has a purpose, but for the seeding of random numbers, and for the hooks of modules that we do not know:
these are remembered here and run.
"""

from __future__ import annotations

import ctypes
import os
import random
from _random import Random
from collections.abc import Callable
from typing import Any, Final

__all__ = ["fork_alone", "register_at_fork", "remember_fork_hooks", "start_alone"]

_SEED_BYTES: Final = 32

_libc: Final = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock; forks with the C library's own hooks
register_at_fork: Final = os.register_at_fork
"""The one that is for `os.fork` alone."""

_hooks: Final[list[Callable[[], object]]] = []
_seed: Final = Random.seed
_generator: Final[Random] = random._inst  # noqa: SLF001 - behind the module's functions


def remember_fork_hooks() -> None:
    """Have the hooks that are registered from now on run by `start_alone`. Call it before foreign modules are there."""

    def remember(*, after_in_child: Callable[[], object] | None = None, **others: Any) -> None:
        if after_in_child is None:
            register_at_fork(**others)
        else:
            register_at_fork(after_in_child=after_in_child, **others)
            _hooks.append(after_in_child)

    os.register_at_fork = remember


def fork_alone() -> int:
    """Fork this process, which has one thread; 0 in the child, which calls `start_alone`.

    Raises:
        OSError: The kernel refused.
    """
    pid = int(_libc.fork())
    if pid < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return pid


def start_alone() -> None:
    """Make a forked child a process of its own: other random numbers than its siblings, and the hooks of others."""
    _seed(_generator, int.from_bytes(os.urandom(_SEED_BYTES)))
    for hook in _hooks:
        hook()

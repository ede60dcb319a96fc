"""Forking without what Python does in a child for the sake of threads: for processes of one thread.

`os.fork` makes new locks in the child and runs every hook of `os.register_at_fork`. That writes to some 200 pages of
memory, which the kernel has to copy: more than half the price of a fork (decision 0013). Where there is one thread,
nothing of it has a purpose, but for the seeding of random numbers, the number of the thread, and the hooks of modules
that we do not know: these are remembered here and run as `os.fork` would run them.

Modules that are imported before the fork may have generators of random numbers of their own. Those that were seeded by
chance then are seeded anew in each child; those that were given a seed go on from there, as they would anywhere.
"""

from __future__ import annotations

import ctypes
import os
import random
import sys
import threading
import weakref
from _random import Random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from worker.logs import write_error
from worker.tracebacks import format_error

__all__ = [
    "fork_alone",
    "has_parent_hooks",
    "register_at_fork",
    "remember_fork_hooks",
    "remember_generators",
    "start_alone",
]

_SEED_BYTES: Final = 32

_NUMPY: Final = "numpy.random"
_STANDARD: Final = sys.stdlib_module_names

_libc: Final = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock; forks with the C library's own hooks
register_at_fork: Final = os.register_at_fork
"""The one whose hooks are run by `os.fork` alone."""

_seed: Final = Random.seed
_generator: Final[Any] = random._inst  # noqa: SLF001 - behind the module's functions
_main_thread: Final[Any] = threading.main_thread()

_Hook = Callable[[], object]
_before: Final[list[_Hook]] = []
_in_parent: Final[list[_Hook]] = []
_in_child: Final[list[_Hook]] = []
_generators: Final[list[Any]] = []
"""Generators of others that were seeded by chance."""

_remembered: Final = {"before": _before, "after_in_parent": _in_parent, "after_in_child": _in_child}


def remember_fork_hooks() -> None:
    """Have the hooks that are registered from now on run here, too. Call it before foreign modules are there.

    Those of the standard library are for the sake of threads.
    """

    def remember(**hooks: _Hook) -> None:
        register_at_fork(**hooks)
        if _top_of_caller() in _STANDARD:
            return
        for when, hook in hooks.items():
            _remembered[when].append(hook)

    os.register_at_fork = remember  # type: ignore[assignment]  # it hands on what it is given, and so is as strict


@contextmanager
def remember_generators() -> Iterator[None]:
    """Have the generators of random numbers that are made meanwhile, without a seed, seeded anew in each child."""
    seed = random.Random.seed
    found: dict[int, weakref.ref[random.Random]] = {}

    def remember(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None and self is not _generator:
            found[id(self)] = weakref.ref(self)
        else:
            found.pop(id(self), None)
        seed(self, a, version)

    random.Random.seed = remember  # type: ignore[method-assign]  # it does what the other one does
    try:
        yield
    finally:
        random.Random.seed = seed  # type: ignore[method-assign]
        _generators.extend(generator for known in found.values() if (generator := known()) is not None)


def fork_alone() -> int:
    """Fork this process, which has one thread; 0 in the child, which calls `start_alone`.

    Raises:
        OSError: The kernel refused.
    """
    _run(reversed(_before))
    pid = int(_libc.fork())
    if pid == 0:
        return 0
    code = ctypes.get_errno()
    _run(_in_parent)
    if pid < 0:
        raise OSError(code, os.strerror(code))
    return pid


def has_parent_hooks() -> bool:
    """Whether there is something that `fork_alone` does besides the fork."""
    return bool(_before or _in_parent)


def start_alone() -> None:
    """Make a forked child a process of its own: other random numbers than its siblings, and the hooks of others."""
    _seed(_generator, int.from_bytes(os.urandom(_SEED_BYTES)))
    _generator.gauss_next = None  # half of a pair of numbers that all siblings would have
    if _generators or _NUMPY in sys.modules:
        _seed_others()
    _main_thread._set_native_id()  # noqa: SLF001 - its process id was that of the parent
    if _in_child:
        _forget_threads()
        _run(_in_child)


def _seed_others() -> None:
    for generator in _generators:
        generator.seed()
    if (numpy := sys.modules.get(_NUMPY)) is not None:
        numpy.seed()  # the one that its functions share


def _top_of_caller() -> str:
    """The package of whoever has called the function that calls this one."""
    return str(sys._getframe(2).f_globals.get("__name__", "")).partition(".")[0]  # noqa: SLF001 - there is no other way


def _forget_threads() -> None:
    """Have `threading` know of one thread, by one number, as after `os.fork`: gevent's hook insists on it.

    gevent gives the main thread a second number, that of its greenlet, which is the one to be kept.
    """
    active: dict[int, Any] = threading._active  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
    number = threading.get_ident()
    current = active.get(number) or threading.main_thread()
    active.clear()
    active[number] = current


def _run(hooks: Iterable[_Hook]) -> None:
    for hook in hooks:
        try:
            hook()
        except Exception as error:  # noqa: BLE001 - a fork goes on, as with os.fork
            write_error(f"a hook for forks failed: {format_error(error)}")

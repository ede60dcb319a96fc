"""Immortal objects: whoever reads them leaves their pages alone; what is made later dies as ever.

All of it is tried in interpreters of their own, which have much less to go through than that of the tests.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.worker.forked import in_child
from worker import native
from worker.immortal import SUPPORTED, immortalise, share_memory

needs_support = pytest.mark.skipif(not SUPPORTED, reason="this Python has no immortal objects of this kind")
MANY: Final = 100_000


class Thing:
    """Something that can be referred to weakly."""

    def __init__(self) -> None:
        self.name = f"a thing at {id(self)}"


FIND: Final[dict[str, Callable[[Thing], object]]] = {
    "instance": lambda thing: thing,
    "attribute": lambda thing: thing.name,
    "class": lambda _: Thing,
    "function": lambda _: Thing.__init__,
    "code": lambda _: Thing.__init__.__code__,
    "constants": lambda _: Thing.__init__.__code__.co_consts,
    "lines": lambda _: Thing.__init__.__code__.co_linetable,
    "docstring": lambda _: Thing.__dict__["__doc__"],
    "dict": lambda _: sys.modules,
    "text": lambda _: sys.modules["pytest"].__file__,
}
"""Objects of every kind, and how one gets there."""


@pytest.fixture(params=["native", "python"])
def way(request: pytest.FixtureRequest) -> str:
    """Whether the loop is that in C or the one in Python."""
    if request.param == "native" and native.make_immortal is None:
        pytest.skip("worker/native/native.so was not built")
    return str(request.param)


def elsewhere(function: Callable[[], object], way: str) -> Any:
    """Run a function of this module in an interpreter of its own; what it returns, plain data."""
    choose = "" if way == "native" else "from worker import immortal; immortal.make_immortal = None; "
    program = f"{choose}import json; from {__name__} import {function.__name__} as run; print(json.dumps(run()))"
    command = [sys.executable, "-c", program]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[2]).stdout)


def counts_change(one: object) -> bool:
    """Whether another reference makes a difference."""
    before = sys.getrefcount(one)
    others = [one] * 10
    return sys.getrefcount(one) - before == len(others)


def faults_of(work: Callable[[], object]) -> int:
    """Pages that were copied, or made, meanwhile."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def reach() -> list[dict[str, bool]]:
    """Which objects are counted, before and after."""
    thing = Thing()
    before = {name: counts_change(find(thing)) for name, find in FIND.items()}
    share_memory()
    return [before, {name: counts_change(find(thing)) for name, find in FIND.items()}]


@needs_support
def test_everything_is_reached(way: str) -> None:
    """Objects, what they refer to, and what code refers to, are not counted any more."""
    before, after = elsewhere(reach, way)
    assert after == dict.fromkeys(FIND, False)
    if sys.version_info < (3, 14):  # later ones have more immortal objects from the beginning
        assert before == dict.fromkeys(FIND, True)


def read() -> list[int]:
    """Pages that texts take, that a fork copies by referring to all of them, and that it copies afterwards."""
    things = [f"text {number}" for number in range(MANY)]
    size = sum(map(sys.getsizeof, things)) // resource.getpagesize()
    counted = in_child(lambda: faults_of(lambda: tuple(things)))
    share_memory()
    return [size, counted, in_child(lambda: faults_of(lambda: tuple(things)))]


@needs_support
def test_reading_copies_no_pages(way: str) -> None:
    """A fork that refers to everything once more copies next to nothing; without, it copies all of it."""
    size, counted, immortal = elsewhere(read, way)
    assert counted > size / 2
    assert immortal < size / 2 - MANY * 8 / resource.getpagesize()


def die() -> list[bool]:
    """Whether what is made afterwards is freed."""
    share_memory()
    thing, circle = Thing(), Thing()
    circle.circle = circle  # type: ignore[attr-defined]
    seen = [weakref.ref(thing), weakref.ref(circle)]
    del thing, circle
    gc.collect()
    return [one() is None for one in seen]


def test_new_objects_die(way: str) -> None:
    """What is made afterwards is freed as soon as nobody refers to it, also in circles."""
    assert elsewhere(die, way) == [True, True]


def repeat() -> list[int]:
    """How many objects there are, how many at a second time, and how many of these are known to be new."""
    gc.collect()
    first = immortalise()
    gc.freeze()
    news = [Thing() for _ in range(100)]
    return [first, immortalise(), len(news)]


@needs_support
def test_a_second_time(way: str) -> None:
    """Only what has come since is gone through."""
    first, second, news = elsewhere(repeat, way)
    assert first > 10_000
    assert news <= second < first / 10


def do_nothing() -> list[bool]:
    """Whether nothing was found, and objects are counted."""
    thing = Thing()
    return [immortalise() == 0, counts_change(thing)]


def test_without_support_nothing_is_done(way: str) -> None:
    """Every object is counted as before."""
    assert elsewhere(do_nothing, way) == ([False, False] if SUPPORTED else [True, True])

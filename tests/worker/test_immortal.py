"""Immortal objects: whoever reads them leaves their pages alone; what is made later dies as ever."""

from __future__ import annotations

import gc
import resource
import sys
import weakref
from collections.abc import Callable

import pytest

from tests.worker.forked import in_child
from worker.immortal import SUPPORTED, immortalise, share_memory

needs_support = pytest.mark.skipif(not SUPPORTED, reason="this Python has no immortal objects of this kind")
MANY = 100_000


class Thing:
    """Something that can be referred to weakly."""

    def __init__(self) -> None:
        self.name = f"a thing at {id(self)}"


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


@needs_support
@pytest.mark.parametrize(
    "find",
    [
        lambda thing: thing,
        lambda thing: thing.name,
        lambda _: Thing,
        lambda _: Thing.__init__,
        lambda _: Thing.__init__.__code__,
        lambda _: Thing.__init__.__code__.co_consts,
        lambda _: Thing.__init__.__code__.co_linetable,
        lambda _: Thing.__dict__["__doc__"],
        lambda _: sys.modules,
        lambda _: sys.modules["pytest"].__file__,
    ],
    ids=["instance", "attribute", "class", "function", "code", "constants", "lines", "docstring", "dict", "text"],
)
def test_everything_is_reached(find: Callable[[Thing], object]) -> None:
    """Objects, what they refer to, and what code refers to, are not counted any more."""

    def run() -> list[bool]:
        thing = Thing()
        before = counts_change(find(thing))
        share_memory()
        return [before, counts_change(find(thing))]

    before, after = in_child(run)
    assert not after
    assert before or sys.version_info >= (3, 14), "some versions have more immortal objects from the beginning"


@needs_support
def test_reading_copies_no_pages() -> None:
    """A fork that refers to everything once more copies next to nothing; without, it copies all of it."""

    def run() -> list[int]:
        things = [f"text {number}" for number in range(MANY)]
        size = sum(map(sys.getsizeof, things)) // resource.getpagesize()
        counted = in_child(lambda: faults_of(lambda: tuple(things)))
        share_memory()
        return [size, counted, in_child(lambda: faults_of(lambda: tuple(things)))]

    size, counted, immortal = in_child(run)
    assert counted > size / 2
    assert immortal < size / 2 - MANY * 8 / resource.getpagesize()


def test_new_objects_die() -> None:
    """What is made afterwards is freed as soon as nobody refers to it, also in circles."""

    def run() -> list[bool]:
        share_memory()
        thing, circle = Thing(), Thing()
        circle.circle = circle  # type: ignore[attr-defined]
        seen = [weakref.ref(thing), weakref.ref(circle)]
        del thing, circle
        gc.collect()
        return [one() is None for one in seen]

    assert in_child(run) == [True, True]


@needs_support
def test_a_second_time() -> None:
    """Only what has come since is gone through."""

    def run() -> list[int]:
        gc.collect()
        first = immortalise()
        gc.freeze()
        news = [Thing() for _ in range(100)]
        return [first, immortalise(), len(news)]

    first, second, news = in_child(run)
    assert first > 10_000
    assert news <= second < first / 10


def test_elsewhere_nothing_is_done() -> None:
    """Without support every object is counted as before."""

    def run() -> list[object]:
        thing = Thing()
        return [immortalise() == 0, counts_change(thing)]

    assert in_child(run) == ([False, False] if SUPPORTED else [True, True])

"""Forks without the work for threads: what a child still has to have, and that hooks of others are run."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import threading
from collections.abc import Callable

import pytest

from tests.worker.driver import AS_ROOT
from tests.worker.forked import in_child
from worker.forking import fork_alone, has_parent_hooks, remember_fork_hooks, remember_generators, start_alone


def tell(function: Callable[[], object]) -> object:
    """What a function returns in a child that was forked alone."""
    down, up = os.pipe()
    if fork_alone() == 0:
        start_alone()
        os.write(up, json.dumps(function()).encode())
        os._exit(0)
    os.close(up)
    os.wait()
    with os.fdopen(down, "rb") as file:
        return json.loads(file.read())


def test_child_and_parent() -> None:
    """The parent gets the process id, the child 0; the child is a process of its own."""

    def run() -> list[object]:
        pid = fork_alone()
        if pid == 0:
            os._exit(7 if os.getppid() == parent else 8)
        waited, status = os.wait()
        return [waited == pid, os.waitstatus_to_exitcode(status)]

    parent = -1

    def run_as_parent() -> list[object]:
        nonlocal parent
        parent = os.getpid()
        return run()

    assert in_child(run_as_parent) == [True, 7]


def test_refusal() -> None:
    """Where the system allows no more processes there is an error with its number, and hooks of the parent are run."""

    def run() -> list[object]:
        remember_fork_hooks()
        called: list[str] = []
        os.register_at_fork(before=lambda: called.append("before"), after_in_parent=lambda: called.append("parent"))
        if AS_ROOT:
            os.setresuid(65534, 65534, 65534)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        with pytest.raises(OSError, match=os.strerror(errno.EAGAIN)) as raised:
            fork_alone()
        return [raised.value.errno, called]

    assert in_child(run) == [errno.EAGAIN, ["before", "parent"]]


def test_random_numbers_differ() -> None:
    """Children of one parent have other random numbers than it and than each other, also of pairs half used."""

    def run() -> list[object]:
        random.seed(1)
        random.gauss(0, 1)
        children = [tell(lambda: [random.random(), random.gauss(0, 1)]) for _ in range(3)]
        numbers = [number for child in children if isinstance(child, list) for number in child]
        first, second = random.random(), random.gauss(0, 1)
        random.seed(1)
        random.gauss(0, 1)
        return [len({*numbers, first, second}), [random.random(), random.gauss(0, 1)] == [first, second]]

    assert in_child(run) == [8, True]


def test_thread_has_its_number() -> None:
    """The main thread of a child has the number that the kernel has for it."""
    assert in_child(lambda: tell(lambda: [threading.main_thread().native_id == os.getpid()])) == [True]


def test_hooks_find_one_thread() -> None:
    """As after `os.fork`, whatever else `threading` knew: gevent gives the main thread a second number, and looks."""

    def run() -> list[object]:
        remember_fork_hooks()
        seen: list[object] = []
        active: dict[int, threading.Thread] = vars(threading)["_active"]
        os.register_at_fork(after_in_child=lambda: seen.append([number == threading.get_ident() for number in active]))
        active[threading.get_ident() + 1] = threading.main_thread()
        return [tell(lambda: [*seen, threading.current_thread() is threading.main_thread()]), len(active)]

    assert in_child(run) == [[[True], True], 2]


def test_hooks_are_run_as_by_the_original() -> None:
    """Hooks that are registered later are run, in the order in which `os.fork` runs them; earlier ones are not."""

    def register(called: list[str], name: str) -> None:
        os.register_at_fork(
            before=lambda: called.append(f"{name} before"),
            after_in_parent=lambda: called.append(f"{name} parent"),
            after_in_child=lambda: called.append(f"{name} child"),
        )

    def run() -> list[object]:
        called: list[str] = []
        register(called, "early")
        remember_fork_hooks()
        register(called, "one")
        register(called, "two")
        os.register_at_fork(after_in_child=lambda: called.append("three child"))
        inside = tell(lambda: called)
        outside = [*called]
        called.clear()
        if os.fork() == 0:
            os._exit(0 if [name for name in called if not name.startswith("early")] == inside else 1)
        _, status = os.wait()
        return [inside, outside, os.waitstatus_to_exitcode(status)]

    before = ["two before", "one before"]
    assert in_child(run) == [
        [*before, "one child", "two child", "three child"],
        [*before, "one parent", "two parent"],
        0,
    ]


def test_lock_that_is_held_over_a_fork() -> None:
    """The usual way to keep a lock consistent works: taken before, released after, on both sides."""

    def run() -> list[object]:
        remember_fork_hooks()
        lock = threading.Lock()
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
        return [tell(lambda: lock.acquire(blocking=False)), lock.acquire(blocking=False)]

    assert in_child(run) == [True, True]


def test_hooks_of_the_standard_library() -> None:
    """They are there for threads, of which there is one: they are run by `os.fork` alone."""

    def run() -> list[object]:
        remember_fork_hooks()
        called: list[str] = []
        library = {"__name__": "concurrent.futures.later", "os": os, "called": called}
        exec("os.register_at_fork(before=lambda: called.append('before'))", library)  # noqa: S102 - in a module's place
        return [tell(lambda: called), has_parent_hooks()]

    assert in_child(run) == [[], False]


def test_generators_of_others() -> None:
    """Those without a seed that are still there differ from child to child; others go on as they are."""

    def run() -> list[object]:
        with remember_generators():
            free, fixed, fixed_later = random.Random(), random.Random(1), random.Random()
            fixed_later.seed(2)
            random.Random()
            system = random.SystemRandom()
        after = random.Random(3)
        mine = [generator.random() for generator in (fixed, fixed_later, after)]
        fixed, fixed_later, after = random.Random(1), random.Random(2), random.Random(3)
        children = [tell(lambda: [free.random(), system.random()]) for _ in range(3)]
        numbers = {number for child in children if isinstance(child, list) for number in child}
        return [len(numbers), mine == [generator.random() for generator in (fixed, fixed_later, after)]]

    assert in_child(run) == [6, True]


@pytest.mark.parametrize("when", ["before", "after_in_parent", "after_in_child"])
def test_hook_that_fails(when: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A hook that raises is told about, and neither the fork nor the other hooks suffer."""

    def fail() -> None:
        raise RuntimeError("hook")

    def run() -> list[object]:
        remember_fork_hooks()
        called: list[str] = []
        os.register_at_fork(**{when: fail})
        os.register_at_fork(**{when: lambda: called.append("other")})
        inside = tell(lambda: called)
        return [inside if when != "after_in_parent" else called]

    assert in_child(run) == [["other"]]
    assert "RuntimeError: hook" in capfd.readouterr().err


def test_wrong_hooks_are_refused() -> None:
    """Registering is as strict as without us."""

    def run() -> list[str]:
        remember_fork_hooks()
        errors = []
        for wrong in ({}, {"before": None}, {"later": print}):
            with pytest.raises(TypeError) as raised:
                os.register_at_fork(**wrong)
            errors.append(type(raised.value).__name__)
        return errors

    assert in_child(run) == ["TypeError"] * 3

"""Memory, processes, disk and processor time: no deed gets more than it may have, by whatever way it takes it.

Every deed is done side by side with others, by a hook with small limits, and again by one with enough: there it must
succeed, so its test is able to fail.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import pytest

from tests.environments import NOBODY
from tests.sandbox.arena import PATIENCE, Arena, Batch, chosen, lasting, open_arena
from tests.sandbox.conftest import cannot_run
from tests.sandbox.deeds import DeedRecord, deeds_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MIB: Final = 1 << 20

TARGET: Final = {"bytes": 64 * MIB, "most": 60, "seconds": 1.5 * PATIENCE, "tries": 4}
"""What the deeds take: much more than they may."""

PERSISTENT: Final = TARGET | {"tries": 60}
"""The same, for those who may have it but share a busy machine with others; they stop when they have it."""

SMALL: Final[Mapping[str, Mapping[str, object]]] = {
    "memory": {"memory": "32 MiB", "open_files": 1024, "scratch_files": 200_000},
    "bombs": {"processes": 30},
    "disk": {"scratch_size": "4 MiB", "file_size": "2 MiB", "scratch_files": 500},
    "cpu": {"cpu_time": lasting(1)},
    "cpu.share": {"cpu_share": 0.1},
}
"""What may be had, by area, or by deed."""

DEEDS: Final = deeds_of("memory", "bombs", "disk", "cpu")
WATCHED: Final = tuple(one for one in DEEDS if not one.by_groups)
"""Where there are no control groups, the others are bounded by nothing but the number of processes and descriptors."""


def small_hook(deed: DeedRecord) -> str:
    """Name the hook with little."""
    return f"small-{deed if str(deed) in SMALL else deed.area}".replace(".", "-")


def large_hook(deed: DeedRecord) -> str:
    """Name the hook with enough."""
    return "large-" + "-".join(f"{name}-{value}" for name, value in deed.limits.items()).replace(" ", "").lower()


HOOKS: Final[Mapping[str, Mapping[str, object]]] = {
    **{small_hook(one): SMALL.get(str(one), SMALL[one.area]) for one in DEEDS},
    **{large_hook(one): one.limits for one in DEEDS},
    "quick": {},
}


class Results:
    """What came of the deeds, each done once."""

    def __init__(self, arena: Arena, small: list[DeedRecord], large: list[DeedRecord]) -> None:
        self.arena = arena
        self.small = Batch(lambda one: arena.do(small_hook(one), one, TARGET), small)
        self.large = Batch(lambda one: arena.do(large_hook(one), one, PERSISTENT), large)

    def close(self) -> None:
        """Wait for all."""
        self.small.close()
        self.large.close()


@contextlib.contextmanager
def all_done(plugins: Path, user: int | None, small: list[DeedRecord], large: list[DeedRecord]) -> Iterator[Results]:
    """Do all deeds; afterwards nothing is left of them, and the service is as it was."""
    with open_arena(
        plugins, HOOKS, user=user, limits={"first_byte_time": lasting(280), "wall_time": lasting(290)}
    ) as arena:
        arena.hello("quick")
        memory, descriptors = arena.memory(), arena.executor.resting_descriptors()
        with contextlib.closing(Results(arena, small, large)) as results:
            yield results
        arena.wait_alone()
        assert arena.hello("quick", time_s=2) == "hello there"
        assert arena.memory() < memory + 24 * MIB
        arena.executor.wait_descriptors(descriptors + 31)
        assert arena.executor.own_failures() == []


@pytest.fixture(scope="module")
def as_root(request: pytest.FixtureRequest, plugins: Path) -> Iterator[Results]:
    """All deeds, where control groups bound them."""
    if os.geteuid() != 0:
        cannot_run("the tests do not run as root")
    small, large = (
        chosen(request, "deed", function="test_contained_as_root"),
        chosen(request, "deed", function="test_succeeds_with_more"),
    )
    with all_done(plugins, None, small, large) as results:
        yield results


@pytest.fixture(scope="module")
def rootless(request: pytest.FixtureRequest, plugins: Path) -> Iterator[Results]:
    """All deeds that are bounded without control groups, too, by a user without rights."""
    user = NOBODY if os.geteuid() == 0 else None
    with all_done(plugins, user, chosen(request, "deed", function="test_contained_rootless"), []) as results:
        yield results


def check(results: Results, deed: DeedRecord) -> None:
    """See that the deed got nothing, and that its hook serves the next request."""
    answer = results.small.result(deed)
    if answer.status_code == httpx.codes.OK:
        seen = answer.json()
        assert seen["escaped"] is False, f"{deed.tries}: {seen['detail']}"
    else:
        assert answer.json()["code"] in deed.ends, answer.text
    assert results.arena.hello(small_hook(deed), str(deed)) == f"hello {deed}"


@pytest.mark.parametrize("deed", DEEDS, ids=str)
def test_contained_as_root(as_root: Results, deed: DeedRecord) -> None:
    """Whatever way it takes: it ends with the limit's own outcome, or gets an error, and the next request is well."""
    check(as_root, deed)


@pytest.mark.parametrize("deed", WATCHED, ids=str)
def test_contained_rootless(rootless: Results, deed: DeedRecord) -> None:
    """Likewise by resource limits and a watch, where there are no control groups."""
    check(rootless, deed)


@pytest.mark.parametrize("deed", DEEDS, ids=str)
def test_succeeds_with_more(as_root: Results, deed: DeedRecord) -> None:
    """With higher limits the same deed gets what it wants."""
    answer: Any = as_root.large.result(deed)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.json()["escaped"] is True, f"{deed.tries}: {answer.json()['detail']}"


def test_default_number_of_processes(as_root: Results) -> None:
    """By default, too, there is an end: 128, with all threads."""
    arena = as_root.arena
    for name in ("forks", "threads"):
        (deed,) = (one for one in DEEDS if str(one) == f"bombs.{name}")
        answer = arena.do("quick", deed, {"most": 160})
        assert answer.json()["escaped"] is False
    arena.wait_alone()
    assert psutil.pid_exists(arena.pid)

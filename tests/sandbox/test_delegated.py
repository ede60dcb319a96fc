"""A service in a group of its own, as service managers and containers give it one: limits hold there as elsewhere.

The group is made for the service, and only the service is in it. With version 2 it has to make room there: it moves to
a leaf of its own, and comes back at the end.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.isolation.cgroup_instances import SUPERVISOR_SUFFIX, remove_ended
from tests.environments import NOBODY
from tests.executor.isolation.cgroup_support import must_open, prepared_parent
from tests.sandbox.arena import PATIENCE, Arena, lasting, open_arena, wait_until
from tests.sandbox.conftest import cannot_run
from tests.sandbox.test_endings import GONE_S, TARGET, family, group_folders, occupied, still_running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

LIMITS = {"memory": "64 MiB", "cpu_time": lasting(1), "cancel_grace_time": "100ms"}


@pytest.fixture(scope="module", params=[None, NOBODY], ids=["root", "rootless"])
def user(request: pytest.FixtureRequest) -> int | None:
    """The user whose group it is."""
    if os.geteuid() != 0:
        cannot_run("only root can prepare groups for others")
    user: int | None = request.param
    return user


@contextlib.contextmanager
def serving(plugins: Path, user: int | None) -> Iterator[tuple[Arena, list[Path]]]:
    """Start a service in a group of its own, one in each hierarchy; afterwards nothing is left in there."""
    groups = must_open()
    with contextlib.closing(groups), prepared_parent(groups, user=user or 0) as parents:
        with open_arena(plugins, {}, user=user, limits=LIMITS, cgroups=parents) as arena:
            arena.hello()
            yield arena, parents
        assert left_in(parents) == []


def left_in(parents: list[Path]) -> list[str]:
    """Name the groups in these, at whatever depth, and the processes in them."""
    folders = [folder for parent in parents for folder in (parent, *parent.rglob("*/"))]
    pids = [pid for folder in folders for pid in (folder / "cgroup.procs").read_text().split()]
    return [*(str(folder) for folder in folders if folder not in parents), *pids]


@pytest.fixture(scope="module")
def service(plugins: Path, user: int | None) -> Iterator[tuple[Arena, list[Path]]]:
    """Start a service that ends when it is told to."""
    with serving(plugins, user) as service:
        yield service


def test_groups_are_made_where_the_service_may(service: tuple[Arena, list[Path]]) -> None:
    """In the group that was given to it, whoever it runs as."""
    arena, parents = service
    assert {folder.parent for folder in group_folders(arena.pid)} == set(parents)


@pytest.mark.parametrize(
    ("deed", "outcome"), [("memory/many_children", "limit.memory"), ("cpu/many_processes", "timeout.cpu")]
)
def test_limits_hold(service: tuple[Arena, list[Path]], deed: str, outcome: str) -> None:
    """For all processes of a worker together."""
    arena, _ = service
    assert arena.outcome(arena.post("hostile", f"/deed/{deed}", TARGET)) == outcome
    arena.wait_alone()
    assert arena.hello() == "hello there"


def test_after_it_was_killed(plugins: Path, user: int | None) -> None:
    """Nothing runs, and of its groups only the one that it was in itself may be left; a later start removes that."""
    with serving(plugins, user) as (arena, parents), contextlib.ExitStack() as stack:
        occupied(arena, stack)
        processes = family(arena.pid)
        arena.executor.process.kill()
        arena.executor.process.wait(30 * PATIENCE)
        wait_until(lambda: not still_running(processes), GONE_S, lambda: still_running(processes))
        wait_until(lambda: not workers_groups(arena), GONE_S, lambda: workers_groups(arena))
        remove_ended(map(str, parents))


def workers_groups(arena: Arena) -> list[Path]:
    """Find the groups of a service but its own."""
    return [folder for folder in group_folders(arena.pid) if not folder.name.endswith(SUPERVISOR_SUFFIX)]

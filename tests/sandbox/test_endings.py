"""However an invocation ends, or the service does: within a second nothing of it is left on the host.

Processes are found by their parents and by the control groups they are in, wherever they have got to.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import httpx
import psutil
import pytest

from tests.sandbox.arena import PATIENCE, Arena, lasting, open_arena, wait_until
from tests.sandbox.conftest import cannot_run, user_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

GROUPS: Final = Path("/sys/fs/cgroup")
GONE_S: Final = 1.0
LIMITS: Final = {
    "first_byte_time": lasting(5),
    "idle_time": lasting(1),
    "cancel_grace_time": "100ms",
    "memory": "256 MiB",  # without control groups, what ten daemons have in common counts for each
    "cpu_time": lasting(1),
    "log_output": "64 KiB",
    "response_body": "1 MiB",
}
STAGES: Final[dict[str, tuple[str, str]]] = {
    "answer": ("stubborn/leaves_daemons", "ok"),
    "error": ("stubborn/raises_exit", "endpoint.raised"),
    "crash": ("stubborn/leaves_holders", "worker.crashed"),
    "memory": ("memory/many_children", "limit.memory"),
    "processor": ("cpu/many_processes", "timeout.cpu"),
    "first_byte": ("stubborn/stops_all", "timeout.first_byte"),
    "idle": ("stubborn/pausing_body", "timeout.idle"),
    "output": ("noise/output", "limit.log_output"),
    "body": ("noise/answer", "limit.response_body"),
    "protocol": ("pipe/garbage", "worker.protocol"),
}
"""The deed and the outcome, for every way in which an invocation can end."""

TARGET: Final = {"bytes": 320 << 20, "seconds": 3 * PATIENCE}


def group_folders(pid: int) -> list[Path]:
    """Find the control groups of one service; the names of their folders say whose they are."""
    found = []
    for folder, folders, _ in os.walk(GROUPS):
        found += [Path(folder, name) for name in folders if name.startswith(f"endpoint-executor-{pid}-")]
        folders[:] = [name for name in folders if not name.startswith("endpoint-executor-")]
    return found


def members(folders: list[Path]) -> set[int]:
    """List the processes in control groups and all that are below."""
    pids: set[int] = set()
    for folder in folders:
        for path in folder.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                pids |= {int(line) for line in path.read_text().split()}
    return pids


def mounts() -> str:
    """What is mounted in the namespace of the tests."""
    return Path("/proc/self/mountinfo").read_text()


def family(pid: int) -> list[psutil.Process]:
    """List all processes below a service, and itself."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Leave out those that have ended."""
    running = []
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # between two looks
            if one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
                running.append(one)
    return running


@contextlib.contextmanager
def serving(plugins: Path, user: int | None = None) -> Iterator[Arena]:
    """Start a service; the host's mounts are the same afterwards."""
    before = mounts()
    with open_arena(plugins, {}, user=user, limits=LIMITS) as arena:
        arena.hello()
        yield arena
    assert mounts() == before


@pytest.fixture(scope="module", params=["root", "rootless"])
def arena(request: pytest.FixtureRequest, plugins: Path) -> Iterator[Arena]:
    """Start a service as root, and as a user without rights."""
    with serving(plugins, user_for(request.param)) as arena:
        yield arena


def left_of_workers(arena: Arena) -> list[str]:
    """What is there of workers: processes by parent and by control group, and files."""
    own = {process.pid for process in family(arena.pid)}
    groups = members(group_folders(arena.pid)) - own
    scratch = arena.executor.state_dir / "scratch"
    return [*arena.strangers(), *map(str, groups), *map(str, scratch.glob("*/*"))]


@pytest.mark.parametrize("stage", STAGES)
def test_after_an_invocation(arena: Arena, stage: str) -> None:
    """Answered, failed, at any limit: it is measured, and when it is over, so is all that it has started, at once."""
    deed, outcome = STAGES[stage]
    before = mounts()
    request = arena.client.build_request("POST", f"/hostile/deed/{deed}", json=TARGET)
    answer = arena.client.send(request, stream=True)
    with contextlib.closing(answer), contextlib.suppress(httpx.RemoteProtocolError):
        answer.read()
    figures = arena.executor.invocation(answer.headers["x-invocation-id"])
    assert figures["outcome"] == outcome
    assert figures["cpu_user_s"] + figures["cpu_system_s"] > 0
    assert figures["max_rss_bytes"] > 0
    wait_until(lambda: not left_of_workers(arena), GONE_S, lambda: left_of_workers(arena))
    assert mounts() == before
    assert arena.hello() == "hello there"


def occupied(arena: Arena, stack: contextlib.ExitStack) -> None:
    """Have a worker that does not end, with children, and a client that waits for it."""
    connection = stack.enter_context(arena.executor.raw())
    connection.send(b"POST /e/hostile/deed/stubborn/ignores_signals HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
    arena.executor.wait_event("endpoint.output", message="begun")


def test_after_the_client_has_gone(plugins: Path) -> None:
    """Nobody waits any more: it is cancelled, and ended when it does not listen."""
    with serving(plugins) as arena:
        with contextlib.ExitStack() as stack:
            occupied(arena, stack)
        arena.executor.wait_event("invocation", outcome="client.gone")
        wait_until(lambda: not left_of_workers(arena), GONE_S, lambda: left_of_workers(arena))


def named(arena: Arena, prefix: str) -> list[psutil.Process]:
    """Find processes of a service by name."""
    return [one for one in family(arena.pid) if one.name().startswith(prefix)]


def base_zygote(arena: Arena) -> psutil.Process:
    """Find the one process that the supervisor itself has started."""
    (base,) = psutil.Process(arena.pid).children()
    return base


VICTIMS: Final[dict[str, Callable[[Arena], psutil.Process]]] = {
    "worker": lambda arena: psutil.Process(arena.executor.workers()[0]["pid"]),
    "slot": lambda arena: named(arena, "ee-slot")[0],
    "template": lambda arena: named(arena, "ee-template")[0],
    "plugin zygote": lambda arena: named(arena, "ee-zygote hosti")[0],
    "base zygote": base_zygote,
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_after_one_of_ours_was_killed(plugins: Path, victim: str) -> None:
    """Everything below it goes with it, and the next request is served."""
    with serving(plugins) as arena, contextlib.ExitStack() as stack:
        occupied(arena, stack)
        killed = VICTIMS[victim](arena)
        below = [killed, *killed.children(recursive=True)]
        killed.kill()
        wait_until(lambda: not still_running(below), GONE_S, lambda: still_running(below))
        arena.executor.wait_workers(0)
        wait_until(lambda: not left_of_workers(arena), GONE_S, lambda: left_of_workers(arena))
        assert arena.hello() == "hello there"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_after_the_service_has_ended(plugins: Path, number: signal.Signals) -> None:
    """Told to end, or killed: no process, control group or mount is left of the service, either."""
    with serving(plugins) as arena, contextlib.ExitStack() as stack:
        occupied(arena, stack)
        processes = family(arena.pid)
        assert len(processes) >= 5
        arena.executor.process.send_signal(number)
        arena.executor.process.wait(30 * PATIENCE)
        wait_until(lambda: not still_running(processes), GONE_S, lambda: still_running(processes))
        wait_until(lambda: not group_folders(arena.pid), GONE_S, lambda: group_folders(arena.pid))


def test_the_next_start_sweeps_what_is_left_and_only_that(plugins: Path) -> None:
    """When nobody was left to clean up: the groups of the dead go, those of a service that runs stay."""
    if os.geteuid() != 0:
        cannot_run("the tests do not run as root")
    with serving(plugins) as alive, serving(plugins) as dead:
        untouched = group_folders(alive.pid)
        processes = family(dead.pid)
        base = base_zygote(dead)
        for one in (psutil.Process(dead.pid), base):
            one.suspend()
        for one in (psutil.Process(dead.pid), base):
            one.kill()
        dead.executor.process.wait(30 * PATIENCE)
        wait_until(lambda: not still_running(processes), GONE_S, lambda: still_running(processes))
        assert group_folders(dead.pid), "there was nothing to sweep"
        with serving(plugins):
            assert group_folders(dead.pid) == []
            assert group_folders(alive.pid) == untouched
            assert alive.hello() == "hello there"

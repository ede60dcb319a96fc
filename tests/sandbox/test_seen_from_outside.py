"""A worker as the host sees it, whatever it says of itself."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.environments import NOBODY
from tests.sandbox.conftest import cannot_run
from tests.sandbox.services import Service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

KINDS = ("user", "pid", "net", "uts", "cgroup", "mnt", "ipc")
EMPTY = "0000000000000000"
HIDDEN = re.compile(rb"CANARY-[a-z]+-[0-9a-f]{16}")


def status(process: psutil.Process) -> dict[str, str]:
    """Read the kernel's own record of a process."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def namespaces(process: psutil.Process) -> dict[str, str]:
    """Tell which namespaces a process is in."""
    return {kind: str(Path(f"/proc/{process.pid}/ns/{kind}").readlink()) for kind in KINDS}


def knows_a_canary(process: psutil.Process) -> bool:
    """Read all memory that a process has written to, and look for what the tests have hidden."""
    with Path(f"/proc/{process.pid}/mem").open("rb") as memory:
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            start, end = (int(text, 16) for text in place.split("-"))
            if rights.startswith("rw"):
                memory.seek(start)
                if HIDDEN.search(memory.read(end - start)):
                    return True
    return False


def slot_of(worker: psutil.Process) -> psutil.Process:
    """Find the slot that a worker is in: both are children of the template."""
    (slot,) = (one for one in psutil.Process(worker.ppid()).children() if one.name().startswith("ee-slot"))
    return slot


@pytest.fixture(scope="module")
def workers(service: Service) -> Iterator[list[psutil.Process]]:
    """Let three requests wait for ever: two of one hook and one of another."""
    paths = ("/e/hostile/never", "/e/hostile/never", "/e/lab/wait/600")
    with contextlib.ExitStack() as stack:
        for path in paths:
            stack.enter_context(service.executor.raw()).send(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        waiting = service.executor.wait_workers(len(paths), state="running")
        yield [psutil.Process(int(one["pid"])) for one in waiting]
    service.executor.wait_workers(0)


def test_no_rights(workers: list[psutil.Process]) -> None:
    """No capability, no way to new ones, a filter of calls, and a user that is not root."""
    for worker in workers:
        seen = status(worker)
        sets = {name: seen[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        assert set(sets.values()) == {EMPTY}
        assert (seen["NoNewPrivs"], seen["Seccomp"], seen["Groups"]) == ("1", "2", "")
        assert "0" not in {*seen["Uid"].split(), *seen["Gid"].split()}


def test_namespaces_of_its_own(service: Service, workers: list[psutil.Process]) -> None:
    """Each differs from the supervisor's, and from that of every other worker."""
    supervisor = namespaces(psutil.Process(service.pid))
    all_seen = [namespaces(worker) for worker in workers]
    for kind in KINDS:
        kinds = {supervisor[kind], *(seen[kind] for seen in all_seen)}
        assert len(kinds) == len(workers) + 1, kind


def test_users_of_its_own(service: Service, workers: list[psutil.Process]) -> None:
    """Run by root, no two workers have an id in common, nor with their slots; rootless, it is the service's own."""
    users = [worker.uids().real for worker in workers]
    groups = [worker.gids().real for worker in workers]
    if psutil.Process(service.pid).uids().real != 0:
        assert set(users) == {NOBODY if os.geteuid() == 0 else os.geteuid()}
        return
    slots = [slot_of(worker).uids().real for worker in workers]
    assert len(set(users) | set(slots)) == 2 * len(workers)
    assert len(set(groups)) == len(workers)
    assert min(users) >= 2_000_000_000


def test_number_two(workers: list[psutil.Process]) -> None:
    """Each is process 2 of its own table."""
    assert {status(worker)["NSpid"].split()[-1] for worker in workers} == {"2"}


def test_few_descriptors(workers: list[psutil.Process]) -> None:
    """Nothing but /dev/null and pipes."""
    for worker in workers:
        links = [str(path.readlink()) for path in Path(f"/proc/{worker.pid}/fd").iterdir()]
        assert len(links) == 5, links
        assert {link.partition(":")[0] for link in links} == {"/dev/null", "pipe"}


def test_parents_hold_nothing(service: Service, workers: list[psutil.Process]) -> None:
    """Slots and templates have no rights on the host and cannot be dumped; a template has no rights at all."""
    for worker in workers:
        slot, template = slot_of(worker), psutil.Process(worker.ppid())
        assert status(slot)["NSpid"].split()[-1] == "1"
        for parent in (slot, template):
            environment = Path(f"/proc/{parent.pid}/environ")
            assert environment.stat().st_uid == 0, "files of a process that is not dumpable are root's"
            assert parent.uids().real == NOBODY or parent.uids().real >= 2_000_000_000 or os.geteuid() != 0
            if os.geteuid() != 0:
                with pytest.raises(PermissionError):
                    environment.read_bytes()
        seen, of_worker = status(template), status(worker)
        names = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
        assert [seen[name] for name in names] == [of_worker[name] for name in names]
    assert service.lives()


def test_parents_know_nothing(service: Service, workers: list[psutil.Process]) -> None:
    """No secret is in the memory of slots, templates and zygotes; that of the supervisor shows that one looks."""
    if os.geteuid() != 0:
        cannot_run("only root can read the memory of processes that cannot be dumped")
    supervisor = psutil.Process(service.pid)
    assert knows_a_canary(supervisor)
    parents = {parent for worker in workers for parent in worker.parents()}
    between = parents - {supervisor, *supervisor.parents()} | {slot_of(worker) for worker in workers}
    zygotes = service.executor.resting_count - 1
    assert len(between) == 2 * len(workers) + zygotes, (
        "slots with their templates, and the zygotes of two plugins and of all"
    )
    assert [one for one in between if knows_a_canary(one)] == []

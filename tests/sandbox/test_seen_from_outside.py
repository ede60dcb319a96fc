"""A worker as the host sees it, whatever it says of itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.sandbox.services import NOBODY, Service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

KINDS = ("user", "pid", "net", "uts", "cgroup", "mnt", "ipc")
EMPTY = "0000000000000000"


def status(process: psutil.Process) -> dict[str, str]:
    """Read the kernel's own record of a process."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def namespaces(process: psutil.Process) -> dict[str, str]:
    """Tell which namespaces a process is in."""
    return {kind: str(Path(f"/proc/{process.pid}/ns/{kind}").readlink()) for kind in KINDS}


@pytest.fixture(scope="module")
def workers(service: Service) -> Iterator[list[psutil.Process]]:
    """Let three requests wait for ever: two of one hook and one of another."""
    url = service.executor.url
    paths = ("/e/hostile/never", "/e/hostile/never", "/e/lab/wait/600")
    with httpx.Client(trust_env=False, timeout=60) as client, ThreadPoolExecutor(len(paths)) as pool:

        def ask(path: str) -> None:
            with pytest.raises(httpx.HTTPError):
                client.get(url + path)

        asked = [pool.submit(ask, path) for path in paths]
        waiting = service.executor.wait_workers(len(paths), state="running")
        yield [psutil.Process(int(one["pid"])) for one in waiting]
        client.close()
        for one in asked:
            one.result()


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
    """Run by root, no two workers have an id in common, nor with their parents; rootless, it is the service's own."""
    users = [worker.uids().real for worker in workers]
    groups = [worker.gids().real for worker in workers]
    if psutil.Process(service.pid).uids().real != 0:
        assert set(users) == {NOBODY if os.geteuid() == 0 else os.geteuid()}
        return
    parents = {worker.ppid(): psutil.Process(worker.ppid()).uids().real for worker in workers}
    assert len(set(users) | set(parents.values())) == 2 * len(workers)
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
    """Slots and zygotes have no rights on the host, cannot be dumped, and their memory has no canary."""
    for worker in workers:
        slot = psutil.Process(worker.ppid())
        assert status(slot)["NSpid"].split()[-1] == "1"
        assert Path(f"/proc/{slot.pid}").stat().st_uid == 0, "files of a process that is not dumpable are root's"
        assert b"CANARY" not in Path(f"/proc/{slot.pid}/environ").read_bytes()
        assert slot.uids().real == NOBODY or slot.uids().real >= 2_000_000_000 or os.geteuid() != 0
    assert service.lives()

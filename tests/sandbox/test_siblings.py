"""Plugins that share an environment: their zygotes come from one that has imported it, and share nothing else."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx
import psutil
import pytest

from tests.sandbox.arena import wait_until
from tests.sandbox.attacks import ATTACKS, AttackRecord
from tests.sandbox.services import Service
from tests.worker.forked import in_child
from worker.lockdown.calls import MS_BIND, mount

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("service", ["environment", "rootless-environment"], indirect=True, scope="module"),
]

MS_REMOUNT: Final = 0x20
SOME: Final = tuple(one for one in ATTACKS if one.area in {"files", "processes", "secrets"})
"""What could reach a sibling or what both come from; all of them are told of its processes and its folder."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


def number(service: Service, plugin: str | None) -> int:
    """Tell the process id of the zygote of a plugin, or, for None, that of the environment, as the log does."""
    if plugin is None:
        return int(service.executor.events("environment.ready")[-1]["pid"])
    return int([event for event in service.executor.events("zygote.ready") if event["plugin"] == plugin][-1]["pid"])


def zygote(service: Service, plugin: str | None) -> psutil.Process:
    """Find that process."""
    return psutil.Process(number(service, plugin))


def served(service: Service) -> bool:
    """Ask both plugins for something; whether both answer, and their zygotes come from that of the environment."""
    try:
        service.hello("again")
        ask_lab(service)
        return {zygote(service, name).ppid() for name in ("hostile", "lab")} == {number(service, None)}
    except (httpx.HTTPStatusError, psutil.NoSuchProcess):
        return False


def mounted(process: psutil.Process, folder: Path) -> bool:
    """Whether a process has a folder mounted; `/tmp` of a view is a link to `/private/tmp`."""
    lines = Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()
    return str(folder) in {line.split()[4].removeprefix("/private") for line in lines}


def ask_lab(service: Service) -> str:
    """Ask the sibling for something."""
    return service.client.get(f"{service.executor.url}/e/lab/info").raise_for_status().text


def in_namespaces_of(process: psutil.Process, function: Callable[[], list[int]]) -> list[int]:
    """Run a function as root of the user namespace of a process, with its mounts."""

    def enter() -> list[int]:
        files = [os.open(f"/proc/{process.pid}/ns/{kind}", os.O_RDONLY) for kind in ("user", "mnt")]
        for file in files:
            if _libc.setns(file, 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        return function()

    return in_child(enter)


def test_they_come_from_one_zygote(service: Service) -> None:
    """It sees neither plugin, and each of theirs only its own."""
    ask_lab(service)
    parent, hostile, lab = (zygote(service, name) for name in (None, "hostile", "lab"))
    assert {hostile.ppid(), lab.ppid()} == {parent.pid}
    folders = {name: service.plugins / name for name in ("hostile", "lab")}
    seen = [[mounted(process, folder) for folder in folders.values()] for process in (parent, hostile, lab)]
    assert seen == [[False, False], [True, False], [False, True]]


@pytest.mark.parametrize("attack", SOME, ids=str)
def test_a_sibling_is_out_of_reach(service: Service, attack: AttackRecord) -> None:
    """So is the zygote that both come from."""
    ask_lab(service)
    answer = service.attack(attack)
    assert service.lives()
    if answer.status_code == httpx.codes.OK:
        assert answer.json()["escaped"] is False, answer.text
    else:
        assert answer.json()["code"] in attack.ends, answer.text


def test_a_folder_cannot_be_made_writable(service: Service) -> None:
    """Not by root of the namespaces that the plugin's zygote is in, which has all rights there."""
    folder = str(service.plugins / "hostile")

    def try_all() -> list[int]:
        codes = []
        for flags in (MS_REMOUNT | MS_BIND, MS_REMOUNT | MS_BIND | os.ST_NOSUID | os.ST_NODEV, MS_REMOUNT):
            try:
                mount(None, folder, None, flags=flags)
            except OSError as error:
                codes.append(error.errno or 0)
        with contextlib.suppress(OSError):
            Path(folder, "new").write_text("")
            codes.append(0)
        return codes

    assert in_namespaces_of(zygote(service, "hostile"), try_all) == [errno.EPERM] * 3
    assert not (service.plugins / "hostile" / "new").exists()


def test_the_end_of_one_is_not_that_of_the_other(service: Service) -> None:
    """Its zygote is started again, from the same parent; the sibling's stays."""
    assert served(service)
    parent, hostile, lab = (number(service, name) for name in (None, "hostile", "lab"))
    psutil.Process(hostile).kill()
    wait_until(lambda: served(service) and number(service, "hostile") != hostile, 60)
    assert [number(service, name) for name in (None, "lab")] == [parent, lab]


def test_with_their_parent_both_are_started_again(service: Service) -> None:
    """And answer."""
    assert served(service)
    parent = number(service, None)
    psutil.Process(parent).kill()
    wait_until(lambda: served(service) and number(service, None) != parent, 60)

"""Where control groups are made, when they cannot be, and how those of ended supervisors are found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from executor.isolation.cgroup_instances import find_ended, instance_name, is_running, remove_ended
from executor.isolation.control_groups import Unavailable, open_control_groups, sweep
from tests.executor.isolation.cgroup_support import (
    NOBODY,
    ROOT,
    cannot_run,
    must_open,
    open_elsewhere,
    prepared_parent,
    start,
)

MIB = 1024 * 1024
HOLD = """
import os, subprocess, sys
from executor.isolation.control_groups import open_control_groups
groups = open_control_groups()
group = groups.create_group("slot")
descriptors = group.open_procs()
join = "import os, sys, time; [os.write(int(fd), b'0') for fd in sys.argv[1:]]; print(flush=True); time.sleep(1000)"
child = subprocess.Popen([sys.executable, "-c", join, *map(str, descriptors)], pass_fds=descriptors,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
child.stdout.readline()
print(*groups.folders, flush=True)
sys.stdin.read()
child.kill()
child.wait()
group.remove()
groups.close()
"""


def members(text: str) -> set[str]:
    """The paths in a /proc/pid/cgroup."""
    return {line.split(":", 2)[2] for line in text.splitlines()}


def test_what_can_be_used_is_told() -> None:
    """Memory and processes always, the rest where the host has it."""
    groups = must_open()
    assert groups.version in {"v1", "v2"}
    assert {"memory", "pids"} <= groups.controllers <= {"memory", "pids", "cpu", "cpuacct"}
    assert all(Path(folder).is_dir() for folder in groups.folders)
    assert all(folder in groups.place for folder in groups.folders)
    groups.close()
    groups.close()
    assert not [folder for folder in groups.folders if Path(folder).exists()]


def test_several_can_be_open() -> None:
    """Also in one process."""
    one, other = must_open(), must_open()
    one.create_group("a")
    other.create_group("a")
    one.close()
    assert all(Path(folder, "a").is_dir() for folder in other.folders)
    other.close()


def test_workers_weigh_no_more_than_the_supervisor() -> None:
    """All together: however many spin, the supervisor gets its turn."""
    groups = must_open()
    if "cpu" not in groups.controllers:
        cannot_run("the CPU controller is not available")
    name = {"v1": "cpu.shares", "v2": "cpu.weight"}[groups.version]
    (weight,) = (int(Path(folder, name).read_text()) for folder in groups.folders if Path(folder, name).exists())
    groups.close()
    assert weight <= {"v1": 1024, "v2": 100}[groups.version]


def test_closing_ends_what_is_left() -> None:
    """Processes and groups."""
    groups = must_open()
    group = groups.create_group("slot")
    with start(group, "print(flush=True)\nsys.stdin.read()") as process:
        assert process.stdout is not None
        process.stdout.readline()
        groups.close()
        assert process.wait() < 0
    groups.close()
    assert not [folder for folder in groups.folders if Path(folder).exists()]


def test_groups_are_made_below_the_executors_own() -> None:
    """So that its limits hold for the workers; and with version 2 it makes room for that, and comes back."""
    groups = must_open()
    with prepared_parent(groups) as parents:
        result = open_elsewhere(parents)
        assert result.get("reason") is None
        assert result["version"] == groups.version
        assert {Path(folder).parent for folder in result["folders"]} == set(parents)
        assert result["left"] == []
        name = Path(result["folders"][0]).name
        moved = any(path.endswith(f"/{name}-supervisor") for path in members(result["inside"]))
        assert moved == (groups.version == "v2")
        assert not any("supervisor" in path for path in members(result["after"]))
        assert not [inner for parent in parents for inner in parent.rglob("*/")]
    groups.close()


def test_delegated_groups_serve_an_ordinary_user() -> None:
    """What was given to the user is enough."""
    groups = must_open()
    with prepared_parent(groups, user=NOBODY) as parents:
        result = open_elsewhere(parents, user=NOBODY)
        assert result.get("reason") is None
        assert {Path(folder).parent for folder in result["folders"]} == set(parents)
        assert result["left"] == []
    groups.close()


def test_beside_other_processes() -> None:
    """Version 2 has no room there: root goes to the top of the hierarchy, others are told. Version 1 does not care."""
    groups = must_open()
    with prepared_parent(groups, user=NOBODY) as parents, subprocess.Popen(["/bin/sleep", "1000"]) as other:
        for parent in parents:
            (parent / "cgroup.procs").write_text(str(other.pid))
        try:
            as_root, as_nobody = open_elsewhere(parents), open_elsewhere(parents, user=NOBODY)
        finally:
            other.kill()
            other.wait()
        assert as_root.get("reason") is None
        assert as_root["left"] == []
        assert not any("supervisor" in path for path in members(as_root["inside"]))
        below = {Path(folder).parent for folder in as_root["folders"]} == set(parents)
        assert below == (groups.version == "v1")
        if groups.version == "v2":
            assert f"{other.pid} (sleep)" in as_nobody["reason"]
            assert "Delegate=yes" in as_nobody["remedy"]
    groups.close()


def test_an_ordinary_user_is_told_what_to_do() -> None:
    """Nothing was delegated to it."""
    result = open_elsewhere([], user=NOBODY if os.geteuid() == 0 else None)
    assert "cannot make a group in /" in result["reason"]
    assert "ermission denied" in result["reason"]
    assert result["remedy"]


@pytest.mark.parametrize(
    ("change", "reason", "remedy"),
    [
        ('mount -o remount,bind,ro "$point"', "Read-only file system", "writable-cgroups=true"),
        ('umount --lazy "$point"', "not mounted", "mount"),
    ],
)
def test_mounts_that_cannot_be_used_are_told(change: str, reason: str, remedy: str) -> None:
    """As containers have them."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        cannot_run("only root can change mounts, in a namespace of its own")
    script = (
        "while read -r _ _ _ _ point rest; do "
        f'case "$rest" in *" - cgroup"*) {change};; esac; '
        'done < /proc/self/mountinfo; exec "$@"'
    )
    result = open_elsewhere([], "unshare", "--mount", "sh", "-ec", script, "sh")
    assert reason in result["reason"]
    assert remedy in result["remedy"]


def test_without_proc_there_are_no_groups() -> None:
    """Nothing could be told apart."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        cannot_run("only root can change mounts, in a namespace of its own")
    result = open_elsewhere([], "unshare", "--mount", "sh", "-ec", 'umount --lazy --recursive /proc; exec "$@"', "sh")
    assert result["reason"]


def test_only_groups_of_ended_supervisors_are_swept() -> None:
    """With the processes in them; those of a running one stay, and ours."""
    own = must_open()
    command = [sys.executable, "-c", HOLD]
    with (
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running,
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ended,
    ):
        assert running.stdout is not None
        assert ended.stdout is not None
        kept, left = running.stdout.readline().decode().split(), ended.stdout.readline().decode().split()
        sweep()
        assert all(Path(folder, "slot").is_dir() for folder in kept + left)
        slots = {pid for folder in left for pid in Path(folder, "slot", "cgroup.procs").read_text().split()}
        ended.kill()
        ended.wait()
        assert all(Path(folder, "slot").is_dir() for folder in left)
        sweep()  # or somebody else's
        assert not [folder for folder in left if Path(folder).exists()]
        assert not [pid for pid in slots if Path("/proc", pid).exists() and "Z" not in state(pid)]
        assert all(Path(folder, "slot").is_dir() for folder in kept)
        assert all(Path(folder).is_dir() for folder in own.folders)
        running.communicate()
        assert running.returncode == 0
        assert not [folder for folder in kept if Path(folder).exists()]
    own.close()


def state(pid: str) -> str:
    """The state of a process, as /proc has it; X if it is gone."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def test_swept_instances_are_counted() -> None:
    """A supervisor's own group belongs to its instance."""
    groups = must_open()
    with prepared_parent(groups) as parents:
        gone, _, running, foreign = names()
        for parent in parents:
            for name in (gone, f"{gone}-supervisor", running, f"{running}-supervisor", foreign, "other"):
                (parent / name).mkdir()
        assert {name for parent in parents for name in find_ended(str(parent))} == {gone, f"{gone}-supervisor"}
        assert remove_ended(map(str, parents)) == 1
        assert remove_ended(map(str, parents)) == 0
        for parent in parents:
            kept = {path.name for path in parent.rglob("*/")}
            assert kept == {running, f"{running}-supervisor", foreign, "other"}
    groups.close()


def names() -> tuple[str, str, str, str]:
    """Names of an ended supervisor, of one that nobody has waited for, of a running one, and of another namespace's."""
    own = instance_name()
    prefix, pid, start_time, namespace, number = own.rsplit("-", 4)
    gone = f"{prefix}-{pid}-{int(start_time) - 1}-{namespace}-{number}"
    with subprocess.Popen(["/bin/true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        zombie_start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        zombie = f"{prefix}-{process.pid}-{zombie_start}-{namespace}-1"
        assert not is_running(zombie)
    return gone, zombie, own, f"{prefix}-{pid}-1-{int(namespace) + 1}-1"


def test_names_tell_who_runs() -> None:
    """An id that another process has since does not."""
    gone, zombie, running, foreign = names()
    assert not is_running(gone)
    assert not is_running(zombie)
    assert is_running(running)
    assert is_running(f"{running}-supervisor")
    assert not is_running(f"{gone}-supervisor")
    assert is_running(foreign)
    for other in ("", "user.slice", "endpoint-executor", f"x{gone}", f"{gone}x", f"{gone}-slot"):
        assert is_running(other)
    assert instance_name() != instance_name()


def test_the_outcome_fits_the_host() -> None:
    """One of the two; and what was opened can be closed."""
    groups = open_control_groups()
    if isinstance(groups, Unavailable):
        assert groups.reason
        assert groups.remedy
    else:
        groups.close()

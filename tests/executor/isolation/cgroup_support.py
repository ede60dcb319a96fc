"""What the tests of control groups have in common: groups that must work, and processes in them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from executor.isolation.control_groups import ControlGroup, ControlGroups, Unavailable, open_control_groups

__all__ = [
    "NOBODY",
    "ROOT",
    "await_removal",
    "cannot_run",
    "must_open",
    "open_elsewhere",
    "prepared_parent",
    "start",
]

ROOT = Path(__file__).parents[3]
NOBODY = 65534
MIB = 1024 * 1024

_JOIN = "import os, sys\nfor descriptor in sys.argv[1:]: os.write(int(descriptor), b'0')\n"
_BECOME = "import os\nos.setgroups([])\nos.setresgid({0}, {0}, {0})\nos.setresuid({0}, {0}, {0})\n"
"""Rights are given up by the program itself: the interpreter may be in a folder that others may not enter."""

_OPEN = """
import encodings.ascii  # found late otherwise, when the interpreter may be out of reach
import json, os, sys
from executor.isolation.control_groups import Unavailable, open_control_groups
# give up rights
groups = open_control_groups()
if isinstance(groups, Unavailable):
    print(json.dumps({"reason": groups.reason, "remedy": groups.remedy}))
else:
    group = groups.create_group("slot")
    group.apply(memory_bytes=64 << 20, processes=3, cpu_share=0.5)
    inside = open("/proc/self/cgroup").read()
    group.usage()
    group.remove()
    groups.close()
    left = [folder for folder in groups.folders if os.path.exists(folder)]
    after = open("/proc/self/cgroup").read()
    print(json.dumps({"version": groups.version, "folders": groups.folders, "inside": inside, "after": after,
                      "controllers": sorted(groups.controllers), "left": left}))
"""


def cannot_run(reason: str) -> NoReturn:
    """Skip a test that this host cannot run; fail where it must."""
    if os.environ.get("SANDBOX_MUST_WORK") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def must_open() -> ControlGroups:
    """Open control groups."""
    groups = open_control_groups()
    if isinstance(groups, Unavailable):
        cannot_run(groups.reason)
    return groups


@contextlib.contextmanager
def start(group: ControlGroup, code: str, *, user: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a group, joined as a slot joins; killed at the end if it still runs.

    Its standard output is a pipe, which its descendants inherit; standard input is one, too.
    """
    descriptors = group.open_procs()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _become(user) + _JOIN + code, *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    with process:
        try:
            yield process
        finally:
            process.kill()


def await_removal(group: ControlGroup, *, patience_s: float = 20.0) -> None:
    """Remove a group as its owner does: again, while processes that were killed are ending."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            group.remove()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


@contextlib.contextmanager
def prepared_parent(groups: ControlGroups, *, user: int = 0) -> Iterator[list[Path]]:
    """Make a group beside those of an instance, in each hierarchy, as a service manager does; it is the user's."""
    if os.geteuid() != 0:
        cannot_run("only root can prepare groups for others")
    parents = [Path(folder).with_name(f"test-{os.getpid()}-{time.monotonic_ns()}") for folder in groups.folders]
    for parent in parents:
        parent.mkdir()
        for path in (parent, *(parent / name for name in ("cgroup.procs", "cgroup.subtree_control"))):
            if path.exists():
                os.chown(path, user, user)
    try:
        yield parents
    finally:
        for parent in parents:
            for inner in sorted(parent.rglob("*/"), reverse=True):
                inner.rmdir()
            parent.rmdir()


def open_elsewhere(parents: list[Path], *prefix: str, user: int | None = None) -> dict[str, Any]:
    """Open, use and close control groups in a process of its own.

    Args:
        parents: The groups, one in each hierarchy, in which it begins.
        prefix: A command that is put in front.
        user: As whom.

    Returns:
        What became of it.
    """
    script = 'n=$1; shift; while [ $n -gt 0 ]; do echo 0 > "$1/cgroup.procs"; shift; n=$((n - 1)); done; exec "$@"'
    program = [*prefix, sys.executable, "-c", _OPEN.replace("# give up rights", _become(user))]
    command = ["sh", "-ec", script, "sh", str(len(parents)), *map(str, parents), *program]
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    result: dict[str, Any] = json.loads(output)
    return result


def _become(user: int | None) -> str:
    return "" if user is None else _BECOME.format(user)

"""Rights that are given up: identity, capabilities, and the way to new ones."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import pytest

from tests.worker.driver import AS_ROOT
from tests.worker.forked import in_child, in_slot, in_user_namespace, status_field
from worker.lockdown.calls import control_process, set_capabilities
from worker.lockdown.credentials import become_unprivileged, drop_capabilities, forbid_new_privileges
from worker.user_namespace import WORKER_ID

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
EMPTY = "0" * 16


def test_identity() -> None:
    """All user and group ids are the worker's, there are no further groups, and there is no way back."""

    def change() -> list[object]:
        become_unprivileged()
        set_capabilities(effective=0, permitted=0)
        for number in (0, 1, 999):
            with pytest.raises(OSError, match=r"."):
                os.setuid(number)
        return [*os.getresuid(), *os.getresgid(), os.getgroups() if AS_ROOT else []]

    assert in_slot(change) == [WORKER_ID] * 6 + [[]]


def test_capabilities_are_left_to_the_next_layer() -> None:
    """A change of identity alone does not take what later steps need."""

    def change() -> bool:
        become_unprivileged()
        return int(status_field("CapPrm"), 16) != 0

    assert in_slot(change) is True


def test_all_capabilities_are_dropped() -> None:
    """All five sets are empty, also for programs that are executed as root of the namespace."""

    def drop() -> list[object]:
        before = [status_field(name) for name in SETS]
        drop_capabilities()
        after = [status_field(name) for name in SETS]
        program = subprocess.check_output(["/bin/cat", "/proc/self/status"], text=True).splitlines()
        executed = [line.split()[1] for line in program if line.startswith("Cap")]
        return [before[1] != EMPTY, before[3] != EMPTY, after, executed]

    assert in_user_namespace(0, drop) == [True, True, [EMPTY] * 5, [EMPTY] * 5]


def test_ambient_capabilities_are_dropped() -> None:
    """Capabilities that would be kept over the execution of a program are dropped as well."""

    def drop() -> list[str]:
        keep_ambient = 47, 2
        chown = 0
        raise_inheritable(chown)
        control_process(*keep_ambient, chown)
        before = status_field("CapAmb")
        drop_capabilities()
        return [before, status_field("CapAmb"), status_field("CapInh")]

    assert in_user_namespace(0, drop) == ["0000000000000001", EMPTY, EMPTY]


def raise_inheritable(number: int) -> None:
    """Put a capability into the inheritable set, as `set_capabilities` never does."""
    header = (ctypes.c_uint32 * 2)(0x2008_0522, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, sets) == 0
    sets[2] |= 1 << number
    assert libc.capset(header, sets) == 0


def test_dropping_needs_no_second_time() -> None:
    """A process that has nothing to drop gets an error, which the worker takes for a failed layer."""

    def drop() -> str:
        set_capabilities(effective=0, permitted=0)
        with pytest.raises(PermissionError) as raised:
            drop_capabilities()
        return str(raised.value)

    assert in_child(drop) == "[Errno 1] capset: Operation not permitted"


def test_no_new_privileges(tmp_path: Path) -> None:
    """The promise is kept by the process and its children; a set-user-id program gets nothing."""
    program = tmp_path / "id"
    program.write_bytes(Path("/usr/bin/id").read_bytes())
    program.chmod(0o4755)
    tmp_path.chmod(0o755)

    def promise() -> list[str]:
        forbid_new_privileges()
        return [status_field("NoNewPrivs"), in_child(lambda: status_field("NoNewPrivs"))]

    assert in_child(promise) == ["1", "1"]

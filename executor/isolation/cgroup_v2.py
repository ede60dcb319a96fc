"""Control groups of version 2: one hierarchy for all controllers, handed down from group to group.

A group has the controllers that the one above enables for its children, and a group that enables any may hold no
processes itself, unless it is the root of the whole hierarchy. So where the executor has been given a group, it moves
itself to a leaf beside the instance's groups:

    the executor's own group          (delegated by systemd, or a container's)
    ├─ INSTANCE-supervisor            the supervisor and the zygotes
    └─ INSTANCE                       weight of one process
       ├─ slot
       └─ slot

Where that cannot be, since the group belongs to others or holds other processes, root makes the instance's group
directly below the root of the hierarchy, and the supervisor stays where it is.

Source: Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint", "Delegation"; systemd's
CGROUP_DELEGATION.md.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

import psutil

from executor.isolation.cgroup_files import list_processes, make_folders, remove_folder, remove_tree, write_text
from executor.isolation.cgroup_groups import ControlGroups
from executor.isolation.cgroup_instances import SUPERVISOR_SUFFIX, instance_name
from executor.isolation.cgroup_mounts import Mount, candidate_folders
from executor.isolation.cgroup_refusals import RefusedError, explain
from executor.isolation.cgroup_trial import try_out
from executor.isolation.cgroup_v2_group import V2Group

__all__ = ["V2Groups", "find_v2_parents", "open_v2"]

WEIGHT_AMONG_OTHERS: Final = 100
"""Weight of all workers together where the host's other groups, or processes, are beside them: as much as each.

Less would be unfair to endpoints: on a busy machine any other process would come before all of them.
"""
WEIGHT_BESIDE_SUPERVISOR: Final = 12
"""The same where only the supervisor's group is beside them, with 100."""

_WANTED: Final = ("memory", "pids", "cpu")
_NEEDED: Final = frozenset({"memory", "pids"})
_ENABLE: Final = "cgroup.subtree_control"
_NAMED_AT_MOST: Final = 3


class V2Groups(ControlGroups):
    """The groups of one running supervisor.

    Args:
        home: The group in which the instance's is.
        name: Of the instance; its group exists, and has the controllers enabled for its children.
        enabled: Those that were enabled in `home` so that the supervisor had to leave it.
    """

    version = "v2"

    def __init__(self, home: str, name: str, enabled: list[str]) -> None:
        folder = f"{home}/{name}"
        controllers = {"cpuacct", *_read_words(f"{folder}/{_ENABLE}")} & {"cpuacct", *_WANTED}
        super().__init__(
            controllers=controllers, folders=(folder,), swap_limited=Path(folder, "memory.swap.max").exists()
        )
        self._home = home
        self._leaf = f"{folder}{SUPERVISOR_SUFFIX}"
        self._enabled = enabled

    def close(self) -> None:
        """Remove all groups, and move back where the supervisor came from; see the base class."""
        super().close()
        _move_out(self._home, self._leaf, self._enabled)

    def _make_group(self, name: str) -> V2Group:
        folder = f"{self.folders[0]}/{name}"
        make_folders([folder])
        return V2Group(name, folder, cpu="cpu" in self.controllers, swap=self.swap_limited)


def open_v2(mounts: list[Mount], own_path: str) -> V2Groups:
    """Make the groups of this supervisor, and try them out.

    Raises:
        RefusedError: They cannot be used; nothing is left.
    """
    refusals = []
    for parent in find_v2_parents(mounts, own_path):
        try:
            return _open_below(parent)
        except RefusedError as refusal:
            refusals.append(refusal)
    if not refusals:
        raise RefusedError("cgroup v2: not mounted", "mount it: `mount -t cgroup2 none /sys/fs/cgroup`")
    raise refusals[0]  # about our own group; that the root's is out of reach is no news


def find_v2_parents(mounts: list[Mount], own_path: str) -> list[str]:
    """Name all folders in which `open_v2` may make groups, the best first."""
    parent, _, name = own_path.rpartition("/")
    home = parent if name.endswith(SUPERVISOR_SUFFIX) else own_path
    return list(dict.fromkeys(folder for mount in mounts for folder in candidate_folders(mount, home)))


def _open_below(home: str) -> V2Groups:
    """Make the instance's group in one place, with all that this takes; or undo it and raise `RefusedError`."""
    name = instance_name()
    folder = f"{home}/{name}"
    enabled: list[str] = []
    try:
        available = _find_controllers(home)
        make_folders([folder])
        enabled += _enable_below(home, available, f"{folder}{SUPERVISOR_SUFFIX}")
        if "cpu" in _read_words(f"{folder}/cgroup.controllers"):
            alone = Path(f"{folder}{SUPERVISOR_SUFFIX}").exists()
            weight = WEIGHT_BESIDE_SUPERVISOR if alone else WEIGHT_AMONG_OTHERS
            write_text(f"{folder}/cpu.weight", str(weight))
        _enable(folder, _read_words(f"{folder}/cgroup.controllers"))
        groups = V2Groups(home, name, enabled)
        try_out(groups)
    except (OSError, RefusedError) as error:
        remove_tree(folder, patience_s=0)
        _move_out(home, f"{folder}{SUPERVISOR_SUFFIX}", enabled)
        if isinstance(error, OSError):
            raise explain(error, "v2", f"make a group in {home}") from error
        raise
    return groups


def _find_controllers(home: str) -> list[str]:
    """Find which of the wanted controllers a group can hand down; raise `RefusedError` if not the needed ones."""
    offered = _read_words(f"{home}/cgroup.controllers")
    if missing := _NEEDED.difference(offered):
        reason = f"cgroup v2: {home} is without the controllers {', '.join(sorted(missing))}"
        raise RefusedError(
            reason,
            "have them delegated, by `Delegate=yes` for the service or the slice above it; "
            "if the kernel has them switched off, boot with `cgroup_enable=memory`",
        )
    return [name for name in _WANTED if name in offered]


def _enable_below(home: str, controllers: list[str], leaf: str) -> list[str]:
    """Enable controllers for the children of a group; move to a leaf if the group must be empty for that.

    Returns:
        What was enabled by moving, and has to be disabled before anything can move back.
    """
    missing = [name for name in controllers if name not in _read_words(f"{home}/{_ENABLE}")]
    try:
        _enable(home, missing)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
    else:
        return []
    _move_in(home, leaf)
    try:
        _enable(home, missing)
    except OSError:
        _move_out(home, leaf, missing)
        raise
    return missing


def _enable(folder: str, controllers: list[str]) -> None:
    """Enable controllers for the children of a group, one by one; those that are not needed may be refused."""
    for name in controllers:
        try:
            write_text(f"{folder}/{_ENABLE}", f"+{name}")
        except OSError as error:
            if name in _NEEDED or error.errno == errno.EBUSY:
                raise


def _move_in(home: str, leaf: str) -> None:
    """Move this process, and what it has started, from its group to a leaf below.

    Raises:
        RefusedError: There are other processes in the group.
    """
    ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    members = list_processes(home)
    if others := sorted(set(members) - ours):
        named = ", ".join(_describe(pid) for pid in others[:_NAMED_AT_MOST])
        more = f" and {len(others) - _NAMED_AT_MOST} more" if len(others) > _NAMED_AT_MOST else ""
        raise RefusedError(
            f"cgroup v2: other processes are in the executor's group {home}: {named}{more}",
            "give the executor a group of its own: `Delegate=yes` for its service, "
            "or `systemd-run --scope -p Delegate=yes executor serve ...`; in a container, make it process 1",
        )
    make_folders([leaf])
    for pid in members:
        with contextlib.suppress(ProcessLookupError):
            write_text(f"{leaf}/cgroup.procs", str(pid))


def _move_out(home: str, leaf: str, enabled: list[str]) -> None:
    """Take back `_move_in`, as far as the kernel lets us: others may have come to depend on what was enabled."""
    if not Path(leaf).exists():
        return
    with contextlib.suppress(OSError):
        for name in enabled:
            write_text(f"{home}/{_ENABLE}", f"-{name}")
        for pid in list_processes(leaf):
            write_text(f"{home}/cgroup.procs", str(pid))
        remove_folder(leaf)


def _describe(pid: int) -> str:
    try:
        return f"{pid} ({psutil.Process(pid).name()})"
    except (psutil.Error, ValueError):
        return str(pid)


def _read_words(path: str) -> list[str]:
    return Path(path).read_text("ascii").split()

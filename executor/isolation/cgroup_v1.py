"""Control groups of version 1: one hierarchy for each controller, or for several that are mounted together.

The supervisor stays where it is, and the instance's groups are made below its own in each hierarchy. Where that is
not visible, as in some containers, they are made where the mount begins.

The limits of memory:

    memory.limit_in_bytes         memory, with files in memory and what the kernel holds for the processes
    memory.memsw.limit_in_bytes   the same with swap; never below the first, so the order of writing matters
    memory.swappiness             0: swap is the last resort; with both limits equal it gives no more memory

There is nothing that kills a whole group when memory runs out, and the event that tells of it is sent to all groups
below the one that is full; see `cgroup_oom`.

Source: Documentation/admin-guide/cgroup-v1/{cgroups,memory,pids,cpuacct}.rst; Documentation/scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from executor.isolation.cgroup_files import make_folders, remove_tree, write_text
from executor.isolation.cgroup_group import (
    SLOT_MEMORY_BYTES,
    SLOT_PROCESSES,
    ControlGroup,
    Counters,
    cpu_quota_us,
)
from executor.isolation.cgroup_groups import ControlGroups
from executor.isolation.cgroup_instances import instance_name
from executor.isolation.cgroup_mounts import CONTROLLERS, Mount, candidate_folders
from executor.isolation.cgroup_oom import OomWatch
from executor.isolation.cgroup_refusals import RefusedError, explain
from executor.isolation.cgroup_trial import try_out

__all__ = ["V1Group", "V1Groups", "find_v1_parents", "open_v1"]

INSTANCE_SHARES: Final = 1024
"""Weight of all workers together: as much as each process beside them has, such as the supervisor.

Less would be unfair to endpoints: on a busy machine any other process would come before all of them.
"""

_LOOKS_S: Final = tuple(0.005 * 2**look for look in range(9))
"""Pauses between looks for a kill that was announced: 2.5 s in all, for the host may be busy."""

_LIMIT: Final = "memory.limit_in_bytes"
_LIMIT_WITH_SWAP: Final = "memory.memsw.limit_in_bytes"
_QUOTA: Final = "cpu.cfs_quota_us"
_NO_QUOTA: Final = "-1"
_NANOSECONDS: Final = 1_000_000_000


class V1Group(ControlGroup):
    """The group of one slot.

    Args:
        name: Of its folders.
        homes: The folder for each usable controller.
        swap: Whether the kernel counts swap.
    """

    def __init__(self, name: str, homes: Mapping[str, str], *, swap: bool) -> None:
        super().__init__(name, tuple(dict.fromkeys(homes.values())))
        self._memory = homes["memory"]
        self._pids = homes["pids"]
        self._cpu = homes.get("cpu")
        self._cpuacct = homes.get("cpuacct")
        self._memory_limits = [_LIMIT, _LIMIT_WITH_SWAP] if swap else [_LIMIT]
        self._memory_bytes: float = math.inf

    def apply(self, *, memory_bytes: int, processes: int, cpu_share: float) -> None:
        """Set the limits; see the base class."""
        self._set(f"{self._memory}/memory.swappiness", "0")
        self._limit_memory(memory_bytes + SLOT_MEMORY_BYTES)
        self._set(f"{self._pids}/pids.max", str(processes + SLOT_PROCESSES))
        if self._cpu is not None:
            self._limit_cpu(f"{self._cpu}/{_QUOTA}", str(cpu_quota_us(cpu_share)))

    def unthrottle(self) -> None:
        """Lift the limit of CPU time; see the base class."""
        if self._cpu is not None:
            self._set(f"{self._cpu}/{_QUOTA}", _NO_QUOTA)

    def _limit_memory(self, memory_bytes: int) -> None:
        raised = memory_bytes > self._memory_bytes
        for name in reversed(self._memory_limits) if raised else self._memory_limits:
            self._set(f"{self._memory}/{name}", str(memory_bytes))
        self._memory_bytes = memory_bytes

    def _limit_cpu(self, path: str, quota: str) -> None:
        """Set the quota; where a group above has less, which the kernel refuses, have no quota beyond that one."""
        try:
            self._set(path, quota)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            write_text(path, _NO_QUOTA)
            self._written[path] = quota

    def _count(self) -> Counters:
        return Counters(
            cpu_s=None
            if self._cpuacct is None
            else self._files.read_number(f"{self._cpuacct}/cpuacct.usage") / _NANOSECONDS,
            oom_kills=self._count_oom_kills(),
            fork_refusals=self._files.read_keys(f"{self._pids}/pids.events").get("max", 0),
        )

    def _count_oom_kills(self) -> int:
        return self._files.read_keys(f"{self._memory}/memory.oom_control").get("oom_kill", 0)

    def _read_memory(self) -> int:
        return self._files.read_number(f"{self._memory}/memory.usage_in_bytes")

    def _read_peak(self) -> int | None:
        return self._files.read_number(f"{self._memory}/memory.max_usage_in_bytes")

    def _reset_peak(self) -> None:
        self._files.write_text(f"{self._memory}/memory.max_usage_in_bytes", "0")

    def _refuse_forks(self) -> None:
        self._set(f"{self._pids}/pids.max", "0")

    def _watch_memory(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> OomWatch:
        watch = OomWatch(loop, self._count_oom_kills, callback, pauses_s=_LOOKS_S)
        try:
            event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            watch.resources.callback(os.close, event)
            control = os.open(f"{self._memory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            try:
                write_text(f"{self._memory}/cgroup.event_control", f"{event} {control}")
            finally:
                os.close(control)
        except OSError:
            watch.close()
            raise
        watch.listen(event, lambda: os.eventfd_read(event))
        return watch


class V1Groups(ControlGroups):
    """The groups of one running supervisor, in several hierarchies."""

    version = "v1"

    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = dict(homes)
        swap = Path(homes["memory"], _LIMIT_WITH_SWAP).exists()
        controllers = [name for name in homes if name != "cpu" or Path(homes["cpu"], _QUOTA).exists()]
        super().__init__(controllers=controllers, folders=tuple(dict.fromkeys(homes.values())), swap_limited=swap)

    def _make_group(self, name: str) -> V1Group:
        make_folders(f"{folder}/{name}" for folder in self.folders)
        homes = {controller: f"{self._homes[controller]}/{name}" for controller in self.controllers}
        return V1Group(name, homes, swap=self.swap_limited)


def open_v1(mounts: list[Mount], memberships: Mapping[str, str]) -> V1Groups:
    """Make the groups of this supervisor, and try them out.

    Raises:
        RefusedError: They cannot be used; nothing is left.
    """
    name = instance_name()
    homes: dict[str, str] = {}
    try:
        for controller in CONTROLLERS:
            if controller not in homes:
                homes.update(_make_home(controller, name, mounts, memberships))
        if "cpu" in homes:
            write_text(f"{homes['cpu']}/cpu.shares", str(INSTANCE_SHARES))
        groups = V1Groups(homes)
        try_out(groups)
    except (OSError, RefusedError) as error:
        for folder in set(homes.values()):
            remove_tree(folder, patience_s=0)
        if isinstance(error, OSError):
            raise explain(error, "v1", "give a new group its weight") from error
        raise
    return groups


def find_v1_parents(mounts: list[Mount], memberships: Mapping[str, str]) -> set[str]:
    """Name all folders in which `open_v1` may make groups."""
    return {
        folder
        for mount in mounts
        for controller in mount.controllers & memberships.keys()
        for folder in candidate_folders(mount, memberships[controller])
    }


def _make_home(controller: str, name: str, mounts: list[Mount], memberships: Mapping[str, str]) -> dict[str, str]:
    """Make the instance's folder in one hierarchy.

    Returns:
        The folder, for each controller of the hierarchy; nothing for a controller that can be done without.
    """
    refusals = []
    for mount in mounts:
        if controller not in mount.controllers:
            continue
        for parent in candidate_folders(mount, memberships.get(controller, "")):
            try:
                make_folders([f"{parent}/{name}"])
            except OSError as error:
                refusals.append(explain(error, "v1", f"make a group in {parent}"))
            else:
                return dict.fromkeys(mount.controllers, f"{parent}/{name}")
    if controller not in {"memory", "pids"}:
        return {}
    if not refusals:
        raise RefusedError(f"cgroup v1: the controller `{controller}` is not mounted", "mount it; see cgroups(7)")
    raise refusals[0]  # about our own group

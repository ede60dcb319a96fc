"""Control groups: the kernel's counts and limits for all that a worker starts, whichever version the host has.

Whether they can be used is found out by using them: folders are made, limits written, and a process joins. Nothing
is concluded from what is mounted, for containers, delegation and the kernel's configuration all have their say.

    groups = open_control_groups()         once, before the first zygote is started
    group = groups.create_group("slot-1")
    descriptors = group.open_procs()       for the slot, which writes `0` into each
    group.apply(...), group.reset()        before each worker
    group.usage()                          after it
    group.remove()                         when the slot has ended
    groups.close()

Source: cgroups(7).
"""

from __future__ import annotations

from dataclasses import dataclass

from executor.isolation.cgroup_group import ControlGroup, GroupUsage
from executor.isolation.cgroup_groups import ControlGroups
from executor.isolation.cgroup_instances import remove_ended
from executor.isolation.cgroup_mounts import read_hierarchies
from executor.isolation.cgroup_refusals import RefusedError, explain
from executor.isolation.cgroup_v1 import find_v1_parents, open_v1
from executor.isolation.cgroup_v2 import find_v2_parents, open_v2

__all__ = ["ControlGroup", "ControlGroups", "GroupUsage", "Unavailable", "open_control_groups", "sweep"]


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Control groups cannot be used here.

    Attributes:
        reason: What was tried, and what the kernel said.
        remedy: What to do.
    """

    reason: str
    remedy: str


def open_control_groups() -> ControlGroups | Unavailable:
    """Make the groups of this supervisor where that is possible, and try them out.

    It takes some 50 ms, since a forked process joins. With version 2 it may move this process, with what it has
    started, to another group; so call it before anything else is started.

    Returns:
        The groups, to be closed; or why there are none.
    """
    mounts, memberships = read_hierarchies()
    v1_mounts = [mount for mount in mounts if mount.version == "v1"]
    try:
        if any("memory" in mount.controllers for mount in v1_mounts):  # a controller is in one version at a time
            return open_v1(v1_mounts, memberships)
        return open_v2([mount for mount in mounts if mount.version == "v2"], memberships.get("", "/"))
    except RefusedError as error:
        refusal = error
    except OSError as error:
        refusal = explain(error, "v1 and v2", "tell this process from others")
    return Unavailable(refusal.reason, refusal.remedy)


def sweep() -> int:
    """Remove the groups of supervisors that no longer run, and kill what is left in them; and only those.

    They are looked for where `open_control_groups` makes groups. It may block for a second when there is much to
    kill.

    Returns:
        The number of instances that were removed.
    """
    mounts, memberships = read_hierarchies()
    parents = find_v1_parents([mount for mount in mounts if mount.version == "v1"], memberships)
    parents.update(find_v2_parents([mount for mount in mounts if mount.version == "v2"], memberships.get("", "/")))
    try:
        return remove_ended(parents)
    except OSError:  # without /proc nobody can tell who runs
        return 0

"""Where the control groups of this process are: the mounted hierarchies, and the folders that may be its own.

The kernel tells a process which group it is in, as a path from the root of its cgroup namespace
(`/proc/self/cgroup`), and which part of a hierarchy each mount shows (`/proc/self/mountinfo`). In containers the two
may not fit together: a mount may begin below the namespace's root, beside it, or above it. So the result is a list of
folders to try, the likeliest first.

Source: cgroup_namespaces(7); proc_pid_cgroup(5); proc_pid_mountinfo(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

__all__ = ["CONTROLLERS", "Mount", "candidate_folders", "parse_memberships", "parse_mounts", "read_hierarchies"]

CONTROLLERS: Final = ("memory", "pids", "cpuacct", "cpu")
"""The controllers of interest; version 2 has the figures of `cpuacct` in every group.

The CPU's is the last: a process that joins one hierarchy after the other has its old weight until then.
"""

_SEPARATOR: Final = "-"
"""Ends the optional fields of a line of `mountinfo`."""
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted hierarchy of control groups.

    Attributes:
        version: Of the interface.
        point: Where it is mounted.
        root: The group that is visible there, as a path in the hierarchy.
        controllers: Those of interest that belong to it; empty for version 2, where each group has its own.
    """

    version: Literal["v1", "v2"]
    point: str
    root: str
    controllers: frozenset[str]


def parse_mounts(mountinfo: str) -> list[Mount]:
    """Find the hierarchies of interest among the mounts of a process."""
    found = []
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if _SEPARATOR not in fields[6:]:
            continue
        kind, _, options = [*fields[fields.index(_SEPARATOR, 6) + 1 :], "", "", ""][:3]
        root, point = _unescape(fields[3]), _unescape(fields[4])
        controllers = frozenset(CONTROLLERS) & frozenset(options.split(","))
        if kind == "cgroup2":
            found.append(Mount("v2", point, root, frozenset()))
        elif kind == "cgroup" and controllers:
            found.append(Mount("v1", point, root, controllers))
    return found


def parse_memberships(text: str) -> dict[str, str]:
    """Find the groups of a process: the path for each controller, and for version 2 that of the empty name."""
    memberships = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        memberships.update(dict.fromkeys(controllers.split(","), path))
    return memberships


def candidate_folders(mount: Mount, own_path: str) -> list[str]:
    """Name the folders that may be this process' own group, the likeliest first, the mount point last."""
    paths = [own_path, ""]
    if mount.root != "/" and (own_path + "/").startswith(mount.root + "/"):
        paths.insert(0, own_path[len(mount.root) :])
    visible = (path for path in paths if ".." not in path.split("/"))  # `..` leads out of the mount
    return list(dict.fromkeys((mount.point + path).rstrip("/") for path in visible))


def read_hierarchies() -> tuple[list[Mount], dict[str, str]]:
    """Read the mounted hierarchies and the groups of this process; both are empty where there is no /proc."""
    try:
        mounts = parse_mounts(Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape"))
        return mounts, parse_memberships(Path("/proc/self/cgroup").read_text("utf-8", "surrogateescape"))
    except OSError:
        return [], {}


def _unescape(field: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)

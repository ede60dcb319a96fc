"""What a worker sees of its own isolation, from inside.

Every layer is looked at, not remembered: a step that ran and had no effect is found here. A scout looks once for all
workers of a slot, before there is any; the supervisor gets what was seen (SLOT_READY), and refuses a slot that lacks
what is required.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import close
from socket import AF_INET, SOCK_DGRAM, socket
from typing import Final

from worker.lockdown.landlock import abi_version
from worker.lockdown.limits import wanted_limits

__all__ = ["LAYERS", "Evidence", "Origin", "Place", "look_at_layers"]

_NAMESPACES: Final = ("user", "pid", "net", "uts", "cgroup", "mnt", "ipc")
_WORKER_PID: Final = 2
_UNWRITABLE_DEVICE: Final = "/dev/random"
"""A device whose mode lets everybody write, so that only Landlock refuses it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the base zygote saw where the supervisor runs.

    Attributes:
        namespaces: Inode numbers by kind: the same number is the same namespace.
    """

    namespaces: Mapping[str, int]

    @classmethod
    def look(cls) -> Origin:
        """Look at this process."""
        return cls(_namespaces())


@dataclass(frozen=True, slots=True)
class Place:
    """The slot that a worker is in.

    Attributes:
        origin: What the host looked like.
        groups: How many hierarchies of control groups the slot was to join.
        failed: Layers that could not be had, and why; the template adds its own.
        off: Layers that were switched off.
    """

    origin: Origin
    groups: int
    failed: dict[str, str] = field(default_factory=dict)
    off: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of one layer."""

    holds: bool
    text: str


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is looked at once for all layers."""

    place: Place
    limits: Mapping[str, int]
    namespaces: Mapping[str, int]
    status: Mapping[str, str]


def look_at_layers(place: Place, limits: Mapping[str, int]) -> dict[str, Evidence]:
    """Look at every layer.

    Args:
        place: The slot.
        limits: What the process has been limited to.

    Returns:
        By layer, in the order of LAYERS.
    """
    scene = _Scene(place, limits, _namespaces(), _status())
    return {name: _look(name, look, scene) for name, look in LAYERS.items()}


def _look(name: str, look: Callable[[_Scene], Evidence], scene: _Scene) -> Evidence:
    try:
        seen = look(scene)
    except OSError as error:
        seen = Evidence(holds=False, text=str(error))
    if seen.holds:
        return seen
    if name in scene.place.off:
        return Evidence(holds=False, text=f"switched off ({seen.text})")
    return Evidence(holds=False, text=scene.place.failed.get(name, seen.text))


def _namespaces() -> dict[str, int]:
    return {kind: os.stat(f"/proc/self/ns/{kind}").st_ino for kind in _NAMESPACES}


def _status() -> dict[str, str]:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        lines = (line.partition(":") for line in file)
        return {name: value.strip() for name, _, value in lines}


def _is_new(kind: str) -> Callable[[_Scene], Evidence]:
    def look(scene: _Scene) -> Evidence:
        ours, theirs = scene.namespaces[kind], scene.place.origin.namespaces[kind]
        return Evidence(ours != theirs, f"{kind}:[{ours}]" if ours != theirs else f"{kind}:[{ours}], as the host's")

    return look


def _look_at_user(scene: _Scene) -> Evidence:
    seen = _is_new("user")(scene)
    with open("/proc/self/uid_map", encoding="utf-8") as file:
        ids = ", ".join("->".join(line.split()[:2]) for line in file)
    return Evidence(seen.holds, f"{seen.text}, ids {ids}")


def _look_at_pid(scene: _Scene) -> Evidence:
    seen, pid = _is_new("pid")(scene), os.getpid()
    return Evidence(seen.holds and pid == _WORKER_PID, f"{seen.text}, process {pid}")


def _look_at_mounts(scene: _Scene) -> Evidence:
    seen = _is_new("mnt")(scene)
    read_only = bool(os.statvfs("/").f_flag & os.ST_RDONLY)
    text = f"{seen.text}, / is {'read-only' if read_only else 'writable'}: {' '.join(sorted(os.listdir('/')))}"
    return Evidence(seen.holds and read_only, text)


def _look_at_groups(scene: _Scene) -> Evidence:
    joined = bool(scene.place.groups) and "control_groups" not in scene.place.failed | dict.fromkeys(scene.place.off)
    count = scene.place.groups
    return Evidence(joined, f"{count} hierarch{'y' if count == 1 else 'ies'} joined" if joined else "none joined")


def _look_at_limits(scene: _Scene) -> Evidence:
    wanted = wanted_limits(scene.limits)
    wrong = {number for number, most in wanted.items() if resource.getrlimit(number)[0] > most}
    return Evidence(not wrong and bool(wanted), f"{len(wanted) - len(wrong)} of {len(wanted)} limits hold")


def _look_at_identity(scene: _Scene) -> Evidence:
    ids = {*os.getresuid(), *os.getresgid()}
    groups = scene.status.get("Groups", "")
    return Evidence(0 not in ids, f"user {os.getuid()}, group {os.getgid()}, further groups: {groups or 'none'}")


def _look_at_capabilities(scene: _Scene) -> Evidence:
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    left = {name: scene.status[name] for name in names if int(scene.status[name], 16)}
    return Evidence(not left, ", ".join(f"{name} {value}" for name, value in left.items()) or "all five sets are empty")


def _look_at_privileges(scene: _Scene) -> Evidence:
    value = scene.status.get("NoNewPrivs", "?")
    return Evidence(value == "1", f"NoNewPrivs {value}")


def _look_at_landlock(_scene: _Scene) -> Evidence:
    try:
        close(os.open(_UNWRITABLE_DEVICE, os.O_WRONLY | os.O_CLOEXEC))
    except PermissionError:
        return Evidence(holds=True, text=f"{_UNWRITABLE_DEVICE} cannot be written")
    return Evidence(holds=False, text=f"{_UNWRITABLE_DEVICE} can be written; ABI {abi_version()}")


def _look_at_filter(scene: _Scene) -> Evidence:
    mode = scene.status.get("Seccomp", "?")
    try:
        socket(AF_INET, SOCK_DGRAM).close()
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT and mode == "2":
            return Evidence(holds=True, text="mode 2 (filter), sockets of the internet are refused")
    return Evidence(holds=False, text=f"mode {mode}")


LAYERS: Final[Mapping[str, Callable[[_Scene], Evidence]]] = {
    "user_namespace": _look_at_user,
    "pid_namespace": _look_at_pid,
    "network_namespace": _is_new("net"),
    "uts_namespace": _is_new("uts"),
    "cgroup_namespace": _is_new("cgroup"),
    "control_groups": _look_at_groups,
    "mount_namespace": _look_at_mounts,
    "ipc_namespace": _is_new("ipc"),
    "resource_limits": _look_at_limits,
    "unprivileged_user": _look_at_identity,
    "capabilities": _look_at_capabilities,
    "no_new_privileges": _look_at_privileges,
    "landlock": _look_at_landlock,
    "seccomp": _look_at_filter,
}
"""How each layer is looked at."""

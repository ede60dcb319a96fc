"""What enforces each limit of an invocation, in words, depending on what the host lets the executor use.

Control groups hold a limit over everything that a worker starts. Where they cannot be used, each process is bounded
on its own, and a watch over the whole tree of processes kills the worker when the sum is too much. What concerns time
on the clock, bodies, logs and queues is enforced by the supervisor everywhere.

Source: cgroups(7), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1 of Linux, setrlimit(2), tmpfs(5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

__all__ = ["NOT_ENFORCED", "enforcement"]

NOT_ENFORCED: Final = "not enforced here"

WATCH: Final = "a watch on the whole tree, 10 times a second"
COUNTS: Final = "the supervisor counts bytes"
CLOCK: Final = "the supervisor's clock"
ADMISSION: Final = "the supervisor's queue"
CALLS: Final = "the supervisor counts calls"

_EVERYWHERE: Final[Mapping[str, str]] = {
    "wall_time": CLOCK,
    "first_byte_time": CLOCK,
    "idle_time": CLOCK,
    "client_idle_time": CLOCK,
    "cancel_grace_time": f"{CLOCK}, then SIGKILL",
    "request_body": COUNTS,
    "response_body": COUNTS,
    "log_output": COUNTS,
    "log_line": COUNTS,
    "concurrency": ADMISSION,
    "queue_length": ADMISSION,
    "calls": CALLS,
    "calls_at_once": CALLS,
    "call_time": CLOCK,
    "call_request": COUNTS,
    "call_answer": COUNTS,
    "scratch_size": "tmpfs, size",
    "scratch_files": "tmpfs, nr_inodes",
}
"""Limits that no control group and no resource limit has a part in."""

_PER_PROCESS: Final[Mapping[str, str]] = {
    "memory": "RLIMIT_DATA and RLIMIT_AS per process",
    "processes": "RLIMIT_NPROC",
    "cpu_time": "RLIMIT_CPU per process",
    "open_files": "RLIMIT_NOFILE per process",
    "file_size": "RLIMIT_FSIZE per process",
}

_GROUPS: Final[Mapping[str, Mapping[Literal["v1", "v2"], tuple[str, str]]]] = {
    "memory": {
        "v1": ("memory", "control group (v1 memory.limit_in_bytes)"),
        "v2": ("memory", "control group (v2 memory.max)"),
    },
    "processes": {
        "v1": ("pids", "control group (v1 pids.max)"),
        "v2": ("pids", "control group (v2 pids.max)"),
    },
    "cpu_time": {
        "v1": ("cpuacct", "control group (v1 cpuacct.usage) checked 4 times a second"),
        "v2": ("", "control group (v2 cpu.stat) checked 4 times a second"),
    },
    "cpu_share": {
        "v1": ("cpu", "control group (v1 cpu.cfs_quota_us)"),
        "v2": ("cpu", "control group (v2 cpu.max)"),
    },
}
"""Limits that control groups hold: the controller that is needed, none for what every group of v2 counts; in words."""

_GROUP_ALONE: Final = frozenset({"memory"})
"""Limits whose resource limits are not set where a control group holds them."""

_WATCHED: Final = frozenset({"memory", "cpu_time"})
"""Limits that are watched where there are no control groups."""


def enforcement(
    limit_name: str,
    groups: Literal["v1", "v2"] | None,
    controllers: frozenset[str],
    *,
    resource_limits: bool = True,
    swap_limited: bool = True,
) -> str:
    """Tell what enforces a limit.

    Args:
        limit_name: A field of `executor.config.limits.Limits`.
        groups: Version of the control groups in use; `None` where there are none.
        controllers: Those that can be used, by the kernel's names: `memory`, `pids`, `cpu`, `cpuacct`.
        resource_limits: Whether the layer `resource_limits` is on.
        swap_limited: Whether the control groups keep swap from workers.

    Returns:
        One line; `NOT_ENFORCED` when nothing does.

    Raises:
        KeyError: There is no such limit.
    """
    if limit_name in _EVERYWHERE:
        return _EVERYWHERE[limit_name]
    group = _find_group(limit_name, groups, controllers)
    parts = [group] if group else []
    if group and limit_name == "memory":
        parts = [f"{group}, {'swap off' if swap_limited else 'swap not limited'}"]
    if resource_limits and limit_name in _PER_PROCESS and not (group and limit_name in _GROUP_ALONE):
        parts.append(_PER_PROCESS[limit_name])
    if groups is None and limit_name in _WATCHED:
        parts.append(WATCH)
    if not parts and limit_name not in {*_PER_PROCESS, *_GROUPS}:
        raise KeyError(limit_name)
    return ", and ".join(parts) or NOT_ENFORCED


def _find_group(limit_name: str, groups: Literal["v1", "v2"] | None, controllers: frozenset[str]) -> str:
    if groups is None or limit_name not in _GROUPS:
        return ""
    controller, words = _GROUPS[limit_name][groups]
    return words if not controller or controller in controllers else ""

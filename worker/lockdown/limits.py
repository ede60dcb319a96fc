"""Resource limits of a worker (setrlimit(2)); control groups, where there are any, bound the whole tree besides.

What PREPARE_WORKER names is set, and what no endpoint needs is set to nothing: core dumps, locked memory, POSIX queues.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from resource import setrlimit
from typing import Final

__all__ = ["ResourceLimits", "limit_resources", "plan_limits", "set_limits", "wanted_limits"]

ResourceLimits = Sequence[tuple[int, tuple[int, int]]]
"""Pairs of a resource's number and its limits, soft and hard."""

_NAMED: Final = {
    "processes": resource.RLIMIT_NPROC,
    "cpu_time": resource.RLIMIT_CPU,
    "open_files": resource.RLIMIT_NOFILE,
    "file_size": resource.RLIMIT_FSIZE,
    "data_size": resource.RLIMIT_DATA,
    "address_space": resource.RLIMIT_AS,
}
"""Names in PREPARE_WORKER. `data_size` and `address_space` are given only where no control group bounds memory."""

_FIXED: Final = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_RTPRIO: 0,
    resource.RLIMIT_RTTIME: 0,
    resource.RLIMIT_SIGPENDING: 256,
    resource.RLIMIT_STACK: 64 * 1024**2,
}
"""What holds for every worker; the stack of the main thread may grow to 64 MiB, threads get what they ask for."""

_DEFAULT_STACK: Final = 8 * 1024**2


def wanted_limits(limits: Mapping[str, int]) -> dict[int, int]:
    """Tell which resource limits stand for the limits of PREPARE_WORKER.

    Returns:
        Value by number of the resource, as in the module `resource`. Soft and hard limit are the same, but for the
        stack, whose soft limit is what threads get, and processor time, where the soft one can be handled.
    """
    named = {number: limits[name] for name, number in _NAMED.items() if name in limits}
    return named | _FIXED


def plan_limits(limits: Mapping[str, int]) -> ResourceLimits:
    """Tell how the resource limits have to be set for the limits of PREPARE_WORKER, from where they are now.

    They can be lowered, never raised.
    """
    plan = []
    for number, value in wanted_limits(limits).items():
        now = resource.getrlimit(number)
        hard = value if now[1] == resource.RLIM_INFINITY else min(value, now[1])
        soft = hard
        if number == resource.RLIMIT_STACK:
            soft = min(_DEFAULT_STACK, hard)
        elif number == resource.RLIMIT_CPU:
            hard = soft + 1 if now[1] == resource.RLIM_INFINITY else min(soft + 1, now[1])  # SIGXCPU, then SIGKILL
        if now != (soft, hard):
            plan.append((number, (soft, hard)))
    return tuple(plan)


def set_limits(plan: ResourceLimits) -> None:
    """Set them for this process and all that it starts.

    Raises:
        OSError: The kernel refused.
    """
    for number, limits in plan:
        setrlimit(number, limits)


def limit_resources(limits: Mapping[str, int]) -> None:
    """Plan them, and set them.

    Raises:
        OSError: The kernel refused.
    """
    set_limits(plan_limits(limits))

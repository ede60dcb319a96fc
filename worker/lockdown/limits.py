"""Resource limits of a worker (setrlimit(2)); control groups, where there are any, bound the whole tree besides.

What FORK_WORKER names is set, and what no endpoint needs is set to nothing: core dumps, locked memory, POSIX queues.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from typing import Final

__all__ = ["limit_resources", "wanted_limits"]

_NAMED: Final = {
    "processes": resource.RLIMIT_NPROC,
    "cpu_time": resource.RLIMIT_CPU,
    "open_files": resource.RLIMIT_NOFILE,
    "file_size": resource.RLIMIT_FSIZE,
    "data_size": resource.RLIMIT_DATA,
    "address_space": resource.RLIMIT_AS,
}
"""Names in FORK_WORKER. `data_size` and `address_space` are given only where no control group bounds memory."""

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
    """Tell which resource limits stand for the limits of FORK_WORKER.

    Returns:
        Value by number of the resource, as in the module `resource`. Soft and hard limit are the same, but for the
        stack, whose soft limit is what threads get, and processor time, where the soft one can be handled.
    """
    named = {number: limits[name] for name, number in _NAMED.items() if name in limits}
    return named | _FIXED


def limit_resources(limits: Mapping[str, int]) -> None:
    """Set them for this process and all that it starts. They can be lowered afterwards, never raised.

    Raises:
        OSError: The kernel refused.
    """
    for number, value in wanted_limits(limits).items():
        _, most = resource.getrlimit(number)
        hard = value if most == resource.RLIM_INFINITY else min(value, most)
        soft = hard
        if number == resource.RLIMIT_STACK:
            soft = min(_DEFAULT_STACK, hard)
        elif number == resource.RLIMIT_CPU:
            hard = soft + 1  # SIGXCPU at the soft limit, SIGKILL a second later
            if most != resource.RLIM_INFINITY:
                hard = min(hard, most)
        resource.setrlimit(number, (soft, hard))

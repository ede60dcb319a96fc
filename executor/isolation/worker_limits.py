"""Which of the limits are set for each worker, with setrlimit(2) and the size of its private files."""

from __future__ import annotations

import math
from typing import Final

from executor.config.limits import Limits

__all__ = ["worker_limits"]

ADDRESS_ALLOWANCE: Final = 2 * 1024**3
"""Address space beyond the memory limit: threads and allocators reserve much that they never use."""


def worker_limits(limits: Limits, *, grouped: bool, uses: int = 1) -> dict[str, int]:
    """Name the limits of PREPARE_WORKER.

    Args:
        limits: The effective limits of the hook.
        uses: Requests that the worker may answer. A process cannot be told to count its processor time anew, so it may
            use that of all of them, and of the waits between them; the supervisor watches each.
        grouped: Whether a control group bounds memory; otherwise each process bounds its own.

    Returns:
        Sizes in bytes, `cpu_time` in whole seconds, counts.
    """
    named = {
        "processes": limits.processes,
        "cpu_time": math.ceil(limits.cpu_time) * (2 * uses - 1),
        "open_files": limits.open_files,
        "file_size": limits.file_size,
        "scratch_size": limits.scratch_size,
        "scratch_files": limits.scratch_files,
    }
    if not grouped:
        named |= {"data_size": limits.memory, "address_space": limits.memory + ADDRESS_ALLOWANCE}
    return named

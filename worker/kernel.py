"""The few calls of the kernel and the C library that Python does not offer, by ctypes, loaded before any fork."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

__all__ = ["adopt_orphans", "die_with_parent", "flush_c_output", "list_children", "set_process_name"]

PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15
PR_SET_CHILD_SUBREAPER: Final = 36
"""Numbers from linux/prctl.h."""

_libc: Final = ctypes.CDLL(None, use_errno=True)
_prctl: Final = _libc.prctl
_prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_fflush: Final = _libc.fflush
_fflush.argtypes = (ctypes.c_void_p,)


def _control_process(option: int, value: int) -> None:
    if _prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")


def set_process_name(name: str) -> None:
    """Set the name that ps(1) and top(1) show; the kernel keeps its first 15 bytes.

    Source: PR_SET_NAME of prctl(2).
    """
    text = ctypes.create_string_buffer(name.encode())
    _control_process(PR_SET_NAME, ctypes.addressof(text))


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends.

    Raises:
        OSError: The kernel refused.
    Source: PR_SET_CHILD_SUBREAPER of prctl(2). Children do not inherit it.
    """
    _control_process(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when the parent ends, and make sure that it has not ended yet.

    Raises:
        OSError: The kernel refused.
        ProcessLookupError: The parent had ended before the call could take effect.
    Source: PR_SET_PDEATHSIG of prctl(2).
    """
    _control_process(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        raise ProcessLookupError(f"the parent {parent_pid} has ended")


def list_children() -> list[int]:
    """Return the process ids of all children of the calling thread, zombies included.

    The list is exact for a process with one thread that does not wait for children meanwhile.

    Source: /proc/pid/task/tid/children, proc_pid_task(5).
    """
    with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:  # half the price of Path.open
        return [int(pid) for pid in file.read().split()]


def flush_c_output() -> None:
    """Write out what C code has put into the buffers of the C library's streams (fflush(3))."""
    _fflush(None)

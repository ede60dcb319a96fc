"""The filter of system calls: a program for the kernel, compiled beforehand, installed by one call.

The policy with its reasons is `scripts/seccomp_policy.py`; `make seccomp` compiles it into the files beside this
module, one for each kind of machine. At run time nothing is compiled and no library is needed: see decision 0011.

Source: seccomp(2), linux/seccomp.h, linux/filter.h.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Final, final

from worker.lockdown.calls import call_kernel

__all__ = ["Program", "UnsupportedMachineError", "load_program"]

_NR_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
"""The number of seccomp(2), by machine; these are the machines that there are programs for."""

_SET_MODE_FILTER: Final = ctypes.c_uint(1)
_FLAG_TSYNC: Final = ctypes.c_uint(1)
_INSTRUCTION_SIZE: Final = 8
_MAX_INSTRUCTIONS: Final = 4096
"""BPF_MAXINSNS"""


class UnsupportedMachineError(Exception):
    """There is no program for this kind of machine; the text says for which there are."""


class _FilterProgram(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


@final
class Program:
    """A compiled filter in memory, ready to be installed: made before a fork, so that children only make one call.

    Args:
        code: Instructions of 8 bytes each.
        machine: As uname(2) says.

    Raises:
        UnsupportedMachineError: The number of seccomp(2) is not known for this machine.
        ValueError: It is not a whole number of instructions, or none, or more than the kernel takes.
    """

    def __init__(self, code: bytes, machine: str) -> None:
        length, rest = divmod(len(code), _INSTRUCTION_SIZE)
        if rest or not 0 < length <= _MAX_INSTRUCTIONS:
            raise ValueError(
                f"a program of {len(code)} bytes; 1 to {_MAX_INSTRUCTIONS} instructions of 8 were expected"
            )
        self._number = _number_of_seccomp(machine)
        self._code = ctypes.create_string_buffer(code, len(code))
        self._header = _FilterProgram(length, ctypes.addressof(self._code))
        self._pointer = ctypes.byref(self._header)

    def install(self) -> None:
        """Filter the system calls of this process, of all its threads and of its children, for good.

        Needs `no_new_privs`. What comes before it in the lock-down cannot be done after it.

        Raises:
            OSError: The kernel refused: EACCES without `no_new_privs`, EINVAL where it has no filters, ESRCH if another
                thread has a filter of its own.
        """
        thread = call_kernel("seccomp", self._number, _SET_MODE_FILTER, _FLAG_TSYNC, self._pointer)
        if thread:
            raise ProcessLookupError(f"seccomp: thread {thread} has a filter of its own")


def load_program(kind: str = "worker") -> Program:
    """Load the program for this machine.

    Args:
        kind: `worker`, or `build` for the builds of environments.

    Raises:
        UnsupportedMachineError: There is none.
        OSError: The file cannot be read: the installation is incomplete.
    """
    machine = os.uname().machine
    if sys.maxsize < 1 << 32:
        raise UnsupportedMachineError(f"there is no filter of system calls for a Python of 32 bits, on {machine}")
    _number_of_seccomp(machine)
    name = f"seccomp-{machine}.bpf" if kind == "worker" else f"seccomp-{kind}-{machine}.bpf"
    return Program(Path(__file__).with_name(name).read_bytes(), machine)


def _number_of_seccomp(machine: str) -> int:
    if machine not in _NR_SECCOMP:
        known = " and ".join(_NR_SECCOMP)
        raise UnsupportedMachineError(f"there is no filter of system calls for {machine}, only for {known}")
    return _NR_SECCOMP[machine]

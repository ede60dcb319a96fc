"""An interpreter for the programs of seccomp: what the kernel would decide, for any machine, on any machine."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from typing import Final

from scripts.seccomp_policy import ALLOW

__all__ = ["KILL", "simulate"]

KILL: Final = -2
"""The process is killed; other results are as in the policy."""

_ACTIONS: Final = {0x7FFF_0000: ALLOW, 0x8000_0000: KILL}
_ERRNO: Final = 0x0005_0000
_INSTRUCTION: Final = struct.Struct("HBBI")
_CALL: Final = struct.Struct("<IIQ6Q")

_LOAD: Final = 0x20
_AND: Final = 0x54
_JUMP: Final = 0x05
_RETURN: Final = 0x06
_CONDITIONS: Final = {
    0x15: lambda left, right: left == right,
    0x25: lambda left, right: left > right,
    0x35: lambda left, right: left >= right,
    0x45: lambda left, right: left & right != 0,
}
"""Codes from linux/bpf_common.h; libseccomp writes no others."""


def simulate(program: bytes, architecture: int, number: int, arguments: Sequence[int] = (0,) * 6) -> int:
    """Return what a program decides.

    Args:
        program: As it would be installed.
        architecture: AUDIT_ARCH of the caller.
        number: Of the system call.
        arguments: The six registers.

    Raises:
        KeyError: An instruction or a result that was not expected.
        IndexError: A jump out of the program.
    """
    call = struct.unpack("<16I", _CALL.pack(number, architecture, 0, *arguments))
    instructions = _decode(program)
    position = accumulator = 0
    while True:
        code, if_true, if_false, operand = instructions[position]
        position += 1
        if code == _LOAD:
            accumulator = call[operand // 4]
        elif code == _AND:
            accumulator &= operand
        elif code == _JUMP:
            position += operand
        elif code == _RETURN:
            return operand - _ERRNO if operand & 0xFFFF_0000 == _ERRNO else _ACTIONS[operand]
        else:
            position += if_true if _CONDITIONS[code](accumulator, operand) else if_false


@functools.cache
def _decode(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(_INSTRUCTION.iter_unpack(program))

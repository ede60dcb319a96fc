"""Compile the policy for system calls into the programs that workers load: `make seccomp`.

Needs libseccomp.so.2, version 2.5 or later, which most distributions have installed. Programs for all architectures
are made, whichever machine this runs on.

Decisions by an argument
------------------------
libseccomp knows no "otherwise", and a rule of it can compare an argument only once. So the values of an argument are
cut into aligned blocks, all of whose values get the same answer, and a block is one masked comparison; whatever is
above the blocks is one comparison more. No value is in two blocks, so the order of the rules does not matter.
"""  # noqa: INP001 - scripts are no package

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

from scripts.seccomp_policy import ALLOW, KINDS, UNKNOWN, WHOLE_REGISTER, ByArgument, Decision, decisions

__all__ = ["ARCHITECTURES", "COMPILED_WITH", "Comparison", "Library", "make_rules", "program_path"]

COMPILED_WITH: Final = "2.5.4"
"""The version of libseccomp whose output is in the repository; another may word the same program differently."""

ARCHITECTURES: Final = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
"""Values of AUDIT_ARCH from linux/audit.h, by the machine's name."""

MAX_NUMBER: Final = 1100
"""Above all numbers in use: the tables of the kernel end below 600."""

_FOLDER: Final = Path(__file__).resolve().parent.parent / "worker" / "lockdown"

_ACT_ALLOW: Final = 0x7FFF_0000
_ACT_ERRNO: Final = 0x0005_0000
_ACT_KILL_PROCESS: Final = 0x8000_0000
_ATTRIBUTE_FOREIGN: Final = 2
_ATTRIBUTE_OPTIMIZE: Final = 8
_BINARY_TREE: Final = 2
_API_LEVEL: Final = 3
"""The lowest that has _ACT_KILL_PROCESS; fixed, so that it does not matter what the kernel here can do."""
_NO_SUCH_NAME: Final = -1
_GREATER: Final = 6
_MASKED_EQUAL: Final = 7
"""Values from seccomp.h of libseccomp."""


class Comparison(NamedTuple):
    """A condition on an argument: `value & mask == wanted`, or where there is no mask, `value > wanted`."""

    argument: int
    wanted: int
    mask: int | None


class Library:
    """The functions of libseccomp that are needed.

    Raises:
        OSError: There is no libseccomp.so.2.
    """

    def __init__(self) -> None:
        self._calls = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._calls.seccomp_init.restype = ctypes.c_void_p
        self._calls.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint * 3)
        self._calls.seccomp_arch_native.restype = ctypes.c_uint32
        self._calls.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
        _check(self._calls.seccomp_api_set(_API_LEVEL), "seccomp_api_set")

    def version(self) -> str:
        """Return the version of the library, as 2.5.4."""
        return ".".join(map(str, self._calls.seccomp_version().contents))

    def numbers(self, machine: str) -> dict[str, int]:
        """Return the numbers of all system calls that the library knows on a machine, by their names."""
        architecture = ctypes.c_uint32(ARCHITECTURES[machine])
        names = (self._calls.seccomp_syscall_resolve_num_arch(architecture, number) for number in range(MAX_NUMBER))
        return {name.decode(): number for number, name in enumerate(names) if name}

    def compile(self, machine: str, policy: Mapping[str, Decision]) -> bytes:
        """Return the program for a machine: instructions of 8 bytes, in the byte order of this one.

        Raises:
            LookupError: The library does not know a name.
            OSError: It has refused something.
        """
        context = ctypes.c_void_p(self._calls.seccomp_init(ctypes.c_uint32(_action(UNKNOWN))))
        try:
            self._prepare(context, ARCHITECTURES[machine])
            present = self.numbers(machine)
            for name, decision in policy.items():
                number = self._calls.seccomp_syscall_resolve_name(name.encode())
                rules = list(make_rules(decision))
                if number == _NO_SUCH_NAME and rules:
                    raise LookupError(f"libseccomp {self.version()} does not know {name}")
                if name in present:
                    for answer, comparisons in rules:
                        self._add_rule(context, number, answer, comparisons)
            return self._export(context)
        finally:
            self._calls.seccomp_release(context)

    def _prepare(self, context: ctypes.c_void_p, architecture: int) -> None:
        """Make the filter one for a single architecture, deadly to others, and a search tree: see decision 0011."""
        native = self._calls.seccomp_arch_native()
        if native != architecture:
            _check(self._calls.seccomp_arch_add(context, ctypes.c_uint32(architecture)), "seccomp_arch_add")
            _check(self._calls.seccomp_arch_remove(context, ctypes.c_uint32(native)), "seccomp_arch_remove")
        for attribute, value in ((_ATTRIBUTE_FOREIGN, _ACT_KILL_PROCESS), (_ATTRIBUTE_OPTIMIZE, _BINARY_TREE)):
            _check(self._calls.seccomp_attr_set(context, attribute, ctypes.c_uint32(value)), "seccomp_attr_set")

    def _add_rule(
        self, context: ctypes.c_void_p, number: int, answer: int, comparisons: tuple[Comparison, ...]
    ) -> None:
        array = (_Comparison * len(comparisons))(*map(_encode, comparisons))
        arguments = (ctypes.c_uint32(_action(answer)), number, len(comparisons), array)
        _check(self._calls.seccomp_rule_add_array(context, *arguments), f"rule for system call {number}")

    def _export(self, context: ctypes.c_void_p) -> bytes:
        with tempfile.TemporaryFile() as file:
            _check(self._calls.seccomp_export_bpf(context, file.fileno()), "seccomp_export_bpf")
            file.seek(0)
            return file.read()


class _Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp`: the mask of a masked comparison comes first."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def _encode(comparison: Comparison) -> _Comparison:
    argument, wanted, mask = comparison
    if mask is None:
        return _Comparison(argument, _GREATER, wanted, 0)
    return _Comparison(argument, _MASKED_EQUAL, mask, wanted)


def _action(answer: int) -> int:
    return _ACT_ALLOW if answer == ALLOW else _ACT_ERRNO | answer


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")


def make_rules(decision: Decision, given: tuple[Comparison, ...] = ()) -> Iterator[tuple[int, tuple[Comparison, ...]]]:
    """Make rules of a decision, no two of which hold at once.

    Args:
        decision: An answer, or one by an argument.
        given: Conditions that each of the rules has besides its own.

    Yields:
        (answer, conditions). What has no rule is UNKNOWN.
    """
    if isinstance(decision, ByArgument):
        for comparison, below in _cut(decision):
            yield from make_rules(below, (*given, comparison))
    elif decision != UNKNOWN:
        yield decision, given


def _cut(test: ByArgument) -> Iterator[tuple[Comparison, Decision]]:
    """Cut the values of an argument into blocks with one decision each."""
    bits, fixed = test.mask, 0
    if test.mask == WHOLE_REGISTER:
        bits = (1 << max(test.cases).bit_length()) - 1
        fixed = WHOLE_REGISTER ^ bits
        yield Comparison(test.argument, bits, None), test.otherwise
    order = [1 << position for position in reversed(range(64)) if bits >> position & 1]
    for mask, wanted, decision in _blocks(order, test.cases, test.otherwise):
        yield Comparison(test.argument, wanted, mask | fixed), decision


def _blocks(bits: list[int], cases: Mapping[int, Decision], otherwise: Decision) -> Iterator[tuple[int, int, Decision]]:
    """Yield (mask, value, decision) of the largest blocks, in the order of their values.

    Args:
        bits: Those that tell the cases apart, highest first.
        cases: Those of the current block; their other bits are the same.
        otherwise: The decision about all other values of the block.
    """
    kinds = list(cases.values())
    if not kinds:
        yield 0, 0, otherwise
    elif len(kinds) == 1 << len(bits) and kinds.count(kinds[0]) == len(kinds):
        yield 0, 0, kinds[0]
    else:
        bit, *rest = bits
        for half in (0, bit):
            below = {value: decision for value, decision in cases.items() if value & bit == half}
            for mask, value, decision in _blocks(rest, below, otherwise):
                yield mask | bit, value | half, decision


def program_path(machine: str, kind: str = "worker") -> Path:
    """Return where the program for a machine and a kind of process is."""
    return _FOLDER / (f"seccomp-{machine}.bpf" if kind == "worker" else f"seccomp-{kind}-{machine}.bpf")


def main() -> None:
    """Write the programs."""
    library = Library()
    if library.version() != COMPILED_WITH:
        sys.stderr.write(f"libseccomp is {library.version()}: set COMPILED_WITH to that\n")
    for machine, kind in product(ARCHITECTURES, KINDS):
        program = library.compile(machine, decisions(kind))
        path = program_path(machine, kind)
        path.write_bytes(program)
        sys.stdout.write(f"{path.name}: {len(program) // 8} instructions\n")


if __name__ == "__main__":
    main()

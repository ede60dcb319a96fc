"""Memory in files: it is what it was, belongs to each process alone, and costs a fork less.

All of it is done in interpreters of their own, which have nothing else to lose.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.worker.forked import in_child, open_descriptors
from worker import backing
from worker.backing import NATIVE, back_heap, back_libraries

PAGE: Final = mmap.PAGESIZE
MIB: Final = 1 << 20
needs_native = pytest.mark.skipif(not NATIVE, reason="worker/native/native.so was not built")


def elsewhere(function: Callable[[], object]) -> Any:
    """Run a function of this module in an interpreter of its own; what it returns, plain data."""
    program = f"import json; from {__name__} import {function.__name__} as run; print(json.dumps(run()))"
    command = [sys.executable, "-c", program]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[2]).stdout)


def anonymous_bytes() -> int:
    """Private memory of this process that was written to."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


def make_things() -> dict[str, object]:
    """Objects of every size, in circles too."""
    things: dict[str, object] = {f"text {number}": [number, "x" * (number % 2000)] for number in range(5000)}
    things["itself"] = things
    return things


def digest(things: dict[str, object]) -> int:
    """A number that depends on all of them."""
    return hash(tuple((name, str(value[1])) for name, value in things.items() if isinstance(value, list)))


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler, cc")
def test_it_was_built() -> None:
    """Where there is a C compiler, `make setup` has built the library."""
    assert NATIVE


def move_all() -> list[object]:
    """Whether everything is as before, and how much of it was moved."""
    things = make_things()
    before, descriptors, size = digest(things), open_descriptors(), anonymous_bytes()
    moved = back_libraries() + back_heap()
    return [
        digest(things) == before and things["itself"] is things,
        open_descriptors() == descriptors,
        moved > (10 * MIB if NATIVE else MIB),
        anonymous_bytes() < size / 2 or not NATIVE,
        len(gc.get_objects()) > 1000,
    ]


def test_everything_is_as_before() -> None:
    """Objects keep content and identity; no descriptor is left; most private memory has become that of a file."""
    assert elsewhere(move_all) == [True] * 5


def write_apart() -> list[object]:
    """What two children and their parent find in the same list, after each has written to it."""
    shared = [0] * 100_000
    back_libraries()
    back_heap()

    def write(value: int) -> list[int]:
        shared[:] = [value] * len(shared)
        return sorted(set(shared))

    first, second = in_child(lambda: write(1)), in_child(lambda: write(2))
    mine = sorted(set(shared))
    return [first, second, mine, write(3), in_child(lambda: sorted(set(shared)))]


def test_what_is_written_is_nobody_elses() -> None:
    """Siblings and parents see nothing of it, what comes later does; as with any memory."""
    assert elsewhere(write_apart) == [[1], [2], [0], [3], [3]]


def move_again() -> list[object]:
    """What there is after several times, with new objects and libraries in between."""
    answers: list[object] = []
    for number in range(3):
        things = make_things()
        before = digest(things)
        back_libraries(text=number == 1)
        back_heap()
        __import__(("sqlite3", "decimal", "csv")[number])
        answers.append(digest(things) == before)
    return answers


def test_again_and_again() -> None:
    """A zygote does it after its parent has."""
    assert elsewhere(move_again) == [True] * 3


def leave_alone() -> list[object]:
    """Whether anonymous memory of others is what the kernel promises."""
    foreign = mmap.mmap(-1, 4 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    foreign.write(b"\xff" * (4 * MIB))
    shared = mmap.mmap(-1, MIB)
    shared.write(b"\xee" * MIB)
    back_libraries()
    back_heap()
    kept = foreign[:] == b"\xff" * (4 * MIB)
    foreign.madvise(mmap.MADV_DONTNEED)
    zero = foreign[:] == bytes(4 * MIB)
    shared.seek(0)
    in_child(lambda: shared.write(b"from the child"))
    return [kept, zero, shared[:14] == b"from the child"]


def test_memory_of_others_is_left_alone() -> None:
    """What an allocator of a library has got is still zero after MADV_DONTNEED; shared memory is still shared."""
    assert elsewhere(leave_alone) == [True] * 3


def count_faults() -> list[int]:
    """Pages that a child has to copy or get for the same work, before and after."""

    def work() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        json.loads(json.dumps({"numbers": list(range(100))}))
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    before = in_child(work)
    back_libraries()
    back_heap()
    return [before, in_child(work)]


@needs_native
def test_children_do_not_pay() -> None:
    """What a fork does not copy any more, its child need not ask for page by page."""
    before, after = elsewhere(count_faults)
    assert after < 1.5 * before


def refused(what: str) -> list[object]:
    """What is moved when something is not to be had, and whether everything is as before."""
    things = make_things()
    before = digest(things)
    if what == "file":
        os.memfd_create = _refuse  # type: ignore[assignment]
    elif what == "size":
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))
    elif what == "list":
        backing._read_mappings = lambda: iter(())
    return [back_libraries() + back_heap(), digest(things) == before]


def _refuse(*_: object) -> int:
    raise PermissionError


def refused_file() -> list[object]:
    """No files in memory."""
    return refused("file")


def refused_size() -> list[object]:
    """No large files."""
    return refused("size")


def refused_list() -> list[object]:
    """No list of mappings."""
    return refused("list")


@pytest.mark.parametrize("refusal", [refused_file, refused_size, refused_list])
def test_what_cannot_be_done_is_left(refusal: Callable[[], object]) -> None:
    """Nothing is moved then, and everything goes on."""
    assert elsewhere(refusal) == [0, True]


def without_native() -> list[object]:
    """What is moved without the function in C."""
    things = make_things()
    before = digest(things)
    writable = {(one.start, one.path) for one in backing._read_mappings() if one.writable and one.of_file}
    backing.back, backing.NATIVE = None, False  # type: ignore[attr-defined, misc]
    moved = back_libraries()
    same = {(one.start, one.path) for one in backing._read_mappings() if one.writable and one.of_file}
    return [
        moved > MIB,
        back_heap(),
        writable <= same,
        digest(things) == before,
        in_child(lambda: digest(things)) == before,
    ]


def test_without_the_function_in_c() -> None:
    """Only what nobody can write to is moved."""
    assert elsewhere(without_native) == [True, 0, True, True, True]

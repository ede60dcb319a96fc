"""Closing of descriptors: what is kept stays, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import pytest

from worker.descriptors import close_other_descriptors


@pytest.mark.parametrize("kept", [(), (0,), (0, 1, 2), (7, 5, 6, 5), (3, 200), (900,), range(300)])
def test_others_are_closed(kept: Collection[int], tmp_path: Path) -> None:
    """Whatever is open, in whatever order the kept ones are named, next to each other or far apart."""
    pid = os.fork()
    if pid == 0:
        try:
            nothing = os.open(os.devnull, os.O_RDONLY)
            for number in (*range(nothing), *range(nothing + 1, 10), 200, 900, 999):
                os.dup2(nothing, number)
            before = open_descriptors()
            close_other_descriptors(kept)
            after = open_descriptors()
            (tmp_path / "result").write_text(f"{after == before & {*kept}} {999 in before} {len(after)}")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)

    assert (tmp_path / "result").read_text().startswith("True True ")


def open_descriptors() -> set[int]:
    """The descriptors up to 1023, by asking for each: listing them needs another one."""
    found = set()
    for number in range(1024):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.add(number)
    return found

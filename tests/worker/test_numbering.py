"""The numbering of processes, with files in place of the kernel's; `test_slot` has it with the kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.numbering import Numbering


@pytest.mark.parametrize(("text", "last"), [("2\n", 2), ("32768\n", 32768), ("", None), ("many\n", None)])
def test_the_last_number(tmp_path: Path, text: str, last: int | None) -> None:
    """What is no number tells nothing."""
    (tmp_path / "last").write_text(text)
    descriptor = os.open(tmp_path / "last", os.O_RDONLY)
    numbering = Numbering(descriptor)
    assert numbering.last == last
    assert not numbering.go_on_after(1), "it cannot be written to"
    os.close(descriptor)
    assert numbering.last is None


def test_it_is_set(tmp_path: Path) -> None:
    """Where there is a file for it."""
    (tmp_path / "last").touch()
    descriptor = os.open(tmp_path / "last", os.O_RDWR)
    numbering = Numbering(descriptor)
    assert numbering.go_on_after(1)
    assert numbering.last == 1
    os.close(descriptor)
    assert (Numbering(None).last, Numbering(None).go_on_after(1)) == (None, False)

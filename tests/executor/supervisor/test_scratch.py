"""Private folders: removed whatever is in them, swept only when their owner is gone."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

import pytest

from executor.supervisor.scratch import ScratchRoot, remove_scratch, sweep_scratch_roots


def test_a_folder_is_removed_with_its_content(tmp_path: Path) -> None:
    """Even with folders that deny access, and links that point elsewhere."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "kept").write_text("kept")
    root = ScratchRoot(tmp_path)
    folder = root.create()
    locked = folder / "a" / "b"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    (folder / "link").symlink_to(outside)
    (locked / "link").symlink_to(outside / "kept")
    locked.chmod(0)
    (folder / "a").chmod(0o500)
    asyncio.run(remove_scratch(folder))
    assert not folder.exists()
    assert (outside / "kept").read_text() == "kept"
    assert outside.stat().st_mode & 0o777 == 0o755
    root.close()


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    """The usual case, and one that is gone already."""
    root = ScratchRoot(tmp_path)
    folder = root.create()
    asyncio.run(remove_scratch(folder))
    asyncio.run(remove_scratch(folder))
    root.close()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_sweep_removes_only_what_nobody_owns(tmp_path: Path) -> None:
    """A running supervisor's folder stays; one whose owner has died goes."""
    living = ScratchRoot(tmp_path)
    child = os.fork()
    if child == 0:
        ScratchRoot(tmp_path).create()
        os._exit(0)
    os.waitpid(child, 0)
    assert sweep_scratch_roots(tmp_path) == 1
    assert living.path.exists()
    assert sweep_scratch_roots(tmp_path) == 0
    living.close()
    assert sweep_scratch_roots(tmp_path / "missing") == 0


def test_folders_deeper_than_any_recursion_are_removed(tmp_path: Path) -> None:
    """A worker can nest folders without end; removing them must neither fail nor stop the supervisor."""
    root = ScratchRoot(tmp_path)
    folder = root.create()
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(folder)
        for number in range(3000):
            os.mkdir("deep")  # noqa: PTH102 - the path is longer than PATH_MAX
            Path(f"file{number % 7}").touch()
            os.chdir("deep")
        os.fchdir(here)
    finally:
        os.close(here)
    for name in ("wide", "wide/deep", "wide/other"):
        (folder / name).mkdir()
    asyncio.run(remove_scratch(folder))
    assert not folder.exists()
    root.close()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_cannot_be_removed_is_left_without_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The invocation that it belonged to ends all the same, and everything else is removed."""
    root = ScratchRoot(tmp_path)
    folder = root.create()
    (folder / "a").mkdir()
    (folder / "a" / "stays").touch()
    (folder / "a" / "goes").touch()
    unlink = os.unlink

    def refuse(path: str) -> None:
        if path.endswith("stays"):
            raise PermissionError(path)
        unlink(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        asyncio.run(remove_scratch(folder))
    assert [path.name for path in folder.rglob("*")] == ["a", "stays"]
    root.close()


def test_no_sweep_sees_a_folder_without_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another instance may sweep at any moment of our start."""
    flock = fcntl.flock
    swept = []

    def flock_late(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX:
            swept.append(sweep_scratch_roots(tmp_path))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_late)
    root = ScratchRoot(tmp_path)
    assert swept == [0]
    assert root.path.exists()
    assert sweep_scratch_roots(tmp_path) == 0
    root.close()

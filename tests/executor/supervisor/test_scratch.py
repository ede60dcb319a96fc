"""Private folders: removed whatever is in them, swept only when their owner is gone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

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

"""Copies of a folder are exact, are dropped in time, and never follow links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from executor.authoring import snapshots as module
from executor.authoring.project import LOCAL_SETTINGS
from executor.authoring.snapshots import SnapshotError, Snapshots, look
from tests.executor.catalog.plugins import write_plugin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plugin with what does not belong to it."""
    folder = write_plugin(tmp_path / "cat")
    for name in (".git", ".venv", "__pycache__"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("not copied")
    (folder / LOCAL_SETTINGS).write_text("token: secret")
    (folder / "run.sh").write_text("true")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    return folder


def test_what_is_copied(folder: Path, tmp_path: Path) -> None:
    """Files with their permissions, links as links; neither caches nor the author's settings nor pipes."""
    copies = Snapshots(folder, tmp_path / "state" / "copies")
    copy = copies.take()
    assert copy.name == "cat"
    assert (copy / "manifest.yaml").read_text() == (folder / "manifest.yaml").read_text()
    assert (copy / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (copy / "link").readlink() == Path("/etc/passwd")
    assert not {".git", ".venv", "__pycache__", LOCAL_SETTINGS, "pipe"} & {path.name for path in copy.iterdir()}
    assert copies.find_root(f"{copy}/endpoints/cat.py") == copy
    assert copies.find_root(str(folder / "endpoints/cat.py")) is None
    assert copies.find_root(str(copy)) is None
    copies.close()
    assert list((tmp_path / "state" / "copies").iterdir()) == []


def test_a_copy_for_each_state(folder: Path, tmp_path: Path) -> None:
    """The same one while nothing changes; old ones are kept for a while."""
    copies = Snapshots(folder, tmp_path / "copies")
    taken = [copies.take()]
    assert copies.take() == taken[0]
    for number in range(module.KEPT):
        (folder / "run.sh").write_text(f"echo {number}")
        taken.append(copies.take())
    assert len(set(taken)) == module.KEPT + 1
    assert [copy.exists() for copy in taken] == [False] + [True] * module.KEPT
    copies.close()


def test_orphans_are_removed(folder: Path, tmp_path: Path) -> None:
    """Those of programs that live are not."""
    parent = tmp_path / "copies"
    living = Snapshots(folder, parent)
    orphan = parent / "orphan"
    orphan.mkdir()
    (orphan / "lock").touch()
    copies = Snapshots(folder, parent)
    assert not orphan.exists()
    assert living.base.exists()
    copies.close()
    living.close()


def test_folders_that_cannot_be_copied(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too much, or nothing."""
    copies = Snapshots(folder, tmp_path / "copies")
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(SnapshotError, match="too large, at "):
        copies.take()
    monkeypatch.undo()
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(SnapshotError, match="is no folder any more"):
        copies.take()
    copies.close()


def test_looking(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change of a file shows, those of caches do not, and neither does a file that is not there."""
    other = tmp_path / "other.yaml"
    before = look(folder, [other])
    assert before == look(folder, [other])
    (folder / ".venv" / "more").write_text("")
    assert before == look(folder, [other])
    (folder / "run.sh").write_text("false")
    after = look(folder, [other])
    assert after != before
    other.write_text("")
    assert look(folder, [other]) != after
    monkeypatch.setattr(module, "MAX_LOOKED_AT", 3)
    assert look(folder, []) is None

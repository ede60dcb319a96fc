"""The digest changes when a plugin does, and only then."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from executor.catalog import digest
from executor.catalog.digest import compute_digest
from tests.executor.catalog.plugins import load, write_plugin


def test_the_same_files_have_the_same_digest(tmp_path: Path) -> None:
    """Wherever they are."""
    assert compute_digest(write_plugin(tmp_path / "a")) == compute_digest(write_plugin(tmp_path / "b"))
    assert len(compute_digest(tmp_path)) == 64


def test_any_change_is_seen(tmp_path: Path) -> None:
    """Contents, names, new files, links; also of files that nothing declares."""
    source, link = tmp_path / "endpoints" / "cat.py", tmp_path / "link"
    write_plugin(tmp_path)
    link.symlink_to("a")
    seen = [compute_digest(tmp_path)]

    def note() -> None:
        seen.append(compute_digest(tmp_path))

    source.write_text("x = 1")
    note()
    source.write_text("x = 2")
    note()
    source.rename(source.with_name("dog.py"))
    note()
    write_plugin(tmp_path, {"helpers/tools.py": ""})
    note()
    link.unlink()
    note()
    link.symlink_to("b")
    note()

    assert len(set(seen)) == len(seen)


def test_what_is_made_by_running_is_not_seen(tmp_path: Path) -> None:
    """Byte code, environments and version control are not the plugin."""
    before = compute_digest(write_plugin(tmp_path))
    write_plugin(tmp_path, {"endpoints/__pycache__/cat.pyc": "x", ".venv/lib/a.py": "x", ".git/HEAD": "x"})

    assert compute_digest(tmp_path) == before


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    """Nor is anything else that could block, or lead out."""
    write_plugin(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "circle").symlink_to(".")

    assert compute_digest(tmp_path)


def test_large_files_count_by_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what is read, a change of time is a change."""
    monkeypatch.setattr(digest, "MAX_CONTENT", 10)
    file = tmp_path / "large"
    file.write_bytes(b"x" * 100)
    os.utime(file, ns=(1, 1))
    before = compute_digest(tmp_path)
    os.utime(file, ns=(1, 2))

    assert compute_digest(tmp_path) != before


def test_the_number_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of millions of files does not keep the service from starting."""
    monkeypatch.setattr(digest, "MAX_FILES", 2)
    write_plugin(tmp_path, {"a/x": "", "b": ""})
    before = compute_digest(tmp_path)
    write_plugin(tmp_path, {"a/y": ""})

    assert compute_digest(tmp_path) == before


def test_a_loaded_plugin_has_its_digest(tmp_path: Path) -> None:
    """So that a reload can tell whether anything is new."""
    plugin = load(tmp_path).plugin

    assert plugin is not None
    assert plugin.digest == compute_digest(tmp_path)


def test_a_very_deep_folder(tmp_path: Path) -> None:
    """Folders are not followed by recursion; what is too deep for the system counts as empty."""
    deep = os.open(tmp_path, os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("a", dir_fd=deep)
        inner = os.open("a", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = inner
    os.close(deep)
    try:
        assert compute_digest(tmp_path)
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "a"], check=True)  # noqa: S607 - shutil recurses

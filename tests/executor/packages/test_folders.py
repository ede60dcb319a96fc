"""The folders of installed versions."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from executor.packages import folders as module
from executor.packages.archive import Archive
from executor.packages.errors import PackageError
from executor.packages.folders import InvalidPluginError, PackageFolders, find_checksum
from executor.packages.limits import DEFAULT_LIMITS
from tests.executor.catalog.plugins import GOOD
from tests.executor.packages.support import Raw, good_entries, make_zip

NEXT = {"manifest.yaml": str(GOOD["manifest.yaml"]).replace("0.0.1", "0.0.2", 1)}


def there(root: Path) -> list[str]:
    """The versions that are there, and nothing else."""
    assert not list(root.glob(".new-*"))
    return sorted(str(path.relative_to(root)) for path in root.glob("*/*/*"))


def test_a_package_is_unpacked(tmp_path: Path) -> None:
    """Below author, name, version and checksum; for everybody to read; the plugin's root is there."""
    entries = [*good_entries(), Raw(name=b"tool.sh", made_by=3 << 8, attributes=0o104777 << 16)]
    old = os.umask(0o077)
    try:
        unpacked = PackageFolders(tmp_path / "plugins").add(make_zip(entries))
    finally:
        os.umask(old)
    root = unpacked.plugin.root
    assert unpacked.fresh
    assert unpacked.identifier == f"tester/cat:0.0.1@{unpacked.checksum}"
    assert root == tmp_path / "plugins" / "tester" / "cat" / f"0.0.1@{unpacked.checksum}"
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == {*GOOD, "tool.sh"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))} == {0o755, 0o644}
    assert find_checksum(root) == unpacked.checksum


def test_the_same_package_is_unpacked_once(tmp_path: Path) -> None:
    """Another order and compression are the same files; versions stand side by side."""
    folders = PackageFolders(tmp_path)
    first = folders.add(make_zip(good_entries()))
    inode = first.plugin.root.stat().st_ino
    stored = [Raw(name=entry.name, content=entry.content, method=0) for entry in reversed(good_entries())]
    again = folders.add(make_zip(stored, comment=b"another"))
    assert not again.fresh
    assert again.plugin == first.plugin
    assert first.plugin.root.stat().st_ino == inode
    folders.add(make_zip(good_entries(NEXT)))
    changed = folders.add(make_zip(good_entries({"README.md": "x"})))
    assert changed.fresh
    assert len(there(tmp_path)) == 3


@pytest.mark.parametrize("damage", ["file", "more", "fewer", "link", "pipe", "name"])
def test_a_changed_folder_is_seen_and_made_good(tmp_path: Path, damage: str) -> None:
    """By its checksum; installing the package again mends it."""
    folders = PackageFolders(tmp_path)
    unpacked = folders.add(make_zip(good_entries()))
    source = unpacked.plugin.root / "endpoints" / "cat.py"
    match damage:
        case "file":
            source.write_text("import os")
        case "more":
            (unpacked.plugin.root / "more").write_text("x")
        case "fewer":
            source.unlink()
        case "link":
            source.rename(tmp_path / "cat.py")
            source.symlink_to(tmp_path / "cat.py")
        case "pipe":
            os.mkfifo(unpacked.plugin.root / "pipe")
        case _:
            (unpacked.plugin.root / "a\nb").write_text("x")
    assert find_checksum(unpacked.plugin.root) != unpacked.checksum
    assert folders.add(make_zip(good_entries())).fresh
    assert find_checksum(unpacked.plugin.root) == unpacked.checksum


def test_what_nobody_wants_is_removed(tmp_path: Path) -> None:
    """With the folders above it that are empty then, and nothing else; again it does no harm."""
    folders = PackageFolders(tmp_path / "plugins")
    assert folders.sweep(lambda: ()) == ()
    kept: list[Path] = []
    first, second = (folders.add(make_zip(good_entries(changes))) for changes in ({}, NEXT))
    folders.add(make_zip(good_entries(NEXT)), lambda unpacked: kept.append(unpacked.plugin.root))
    assert kept == [second.plugin.root]
    assert folders.sweep(lambda: kept) == (first.plugin.root,)
    assert there(folders.root) == [f"tester/cat/0.0.2@{second.checksum}"]
    assert folders.sweep(lambda: ()) == (second.plugin.root,)
    assert folders.sweep(lambda: ()) == ()
    assert [path.name for path in folders.root.iterdir()] == [".lock"]


def test_a_package_without_a_good_plugin_is_refused(tmp_path: Path) -> None:
    """With everything that is wrong with it, and nothing left."""
    manifest = str(GOOD["manifest.yaml"]).replace("name: cat", "name: Cat").replace("type: plugin", "type: model")
    with pytest.raises(InvalidPluginError) as refused:
        PackageFolders(tmp_path).add(make_zip(good_entries({"manifest.yaml": manifest})))
    assert {finding.code for finding in refused.value.findings} >= {"manifest.name", "manifest.type"}
    assert "manifest.yaml:4:7: error: name: expected 1 to 128 of a-z, 0-9, _ and -" in str(refused.value)
    assert there(tmp_path) == []
    slash = str(GOOD["manifest.yaml"]).replace("version: 0.0.1", 'version: "1!2.0+a"')
    folder = PackageFolders(tmp_path).add(make_zip(good_entries({"manifest.yaml": slash}))).plugin.root
    assert folder.name.startswith("1!2.0+a@")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is told, and what was written is removed."""
    reads = Archive.read

    def fail_late(self: Archive, entry: object) -> object:
        if getattr(entry, "name", "") == "manifest.yaml":
            raise OSError(errno.ENOSPC, "No space left on device")
        return reads(self, entry)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(Archive, "read", fail_late)
    with pytest.raises(OSError, match="No space left"):
        PackageFolders(tmp_path).add(make_zip(good_entries()))
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_what_a_killed_installation_left_is_removed(tmp_path: Path) -> None:
    """Killed between two files; the next installation cleans up, and nobody takes the rest for a version."""
    package = tmp_path / "cat.difypkg"
    package.write_bytes(make_zip(good_entries()))
    root = tmp_path / "plugins"
    script = f"""
import os, signal
from pathlib import Path
from executor.packages import folders
folders.sync_folder = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
folders.PackageFolders(Path({str(root)!r})).add(Path({str(package)!r}).read_bytes())
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False, cwd=Path(__file__).parents[3])
    assert ended.returncode == -signal.SIGKILL
    assert list(root.glob(".new-*/manifest.yaml"))
    unpacked = PackageFolders(root).add(package.read_bytes())
    assert unpacked.fresh
    assert len(there(root)) == 1


def _add(root: str, data: bytes) -> bool:
    return PackageFolders(Path(root)).add(data).fresh


def test_several_may_install_at_the_same_time(tmp_path: Path) -> None:
    """Of the same package one is fresh; all are there in the end."""
    packages = [make_zip(good_entries({"number": str(number)})) for number in (1, 1, 1, 2, 2, 3)]
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        fresh = pool.starmap(_add, [(str(tmp_path), data) for data in packages])
    assert sum(fresh) == 3
    assert len(there(tmp_path)) == 3


def test_a_reader_sees_whole_versions_only(tmp_path: Path) -> None:
    """While versions come and go, whatever folder has the name of a version has all of its files, or is gone."""
    folders = PackageFolders(tmp_path)
    data = make_zip(good_entries())
    path = folders.add(data).plugin.root
    wrong: list[set[str]] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            try:
                held = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue
            found = set(os.listdir(held))  # noqa: PTH208 - a descriptor
            named = os.fstat(held)
            os.close(held)
            still = False
            with contextlib.suppress(FileNotFoundError):
                still = os.path.samestat(path.stat(), named)
            if still and found != {name.split("/")[0] for name in GOOD}:
                wrong.append(found)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for _ in range(20):
            folders.sweep(lambda: ())
            folders.add(data)
    finally:
        stop.set()
        reader.join()
    assert wrong == []


def test_versions_that_cannot_be_folders_are_refused(tmp_path: Path) -> None:
    """Dify's pattern takes letters of all scripts; a folder's name has fewer."""
    manifest = str(GOOD["manifest.yaml"]).replace("version: 0.0.1", "version: 1.2.3-ü")
    with pytest.raises(PackageError, match=r"expected one such as 1\.2\.3"):
        PackageFolders(tmp_path).add(make_zip(good_entries({"manifest.yaml": manifest})))
    assert module.VERSION.fullmatch("../x") is None
    assert Archive(make_zip(good_entries()), DEFAULT_LIMITS).entries

"""Packing folders."""

from __future__ import annotations

import io
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.packages.archive import Archive
from executor.packages.checksum import compute_checksum
from executor.packages.errors import PackageError
from executor.packages.folders import PackageFolders
from executor.packages.limits import DEFAULT_LIMITS, PackageLimits
from executor.packages.pack import pack_folder
from tests.executor.catalog.plugins import GOOD, write_plugin
from tests.executor.packages.support import make_key


def names(data: bytes) -> list[str]:
    """What is in a package."""
    return zipfile.ZipFile(io.BytesIO(data)).namelist()


def test_a_folder_is_packed(tmp_path: Path) -> None:
    """All files, sorted; read again they are the same, and the checksum is that of the package."""
    root = write_plugin(tmp_path / "cat", GOOD)
    packed = pack_folder(root)
    assert names(packed.data) == sorted(GOOD)
    archive = Archive(packed.data, DEFAULT_LIMITS)
    for entry in archive.entries:
        assert b"".join(archive.read(entry)) == (root / entry.name).read_bytes()
    unpacked = PackageFolders(tmp_path / "plugins").add(packed.data)
    assert unpacked.checksum == compute_checksum(packed.digests)


def test_the_same_files_give_the_same_package(tmp_path: Path) -> None:
    """Whenever and in whatever order they were made, and whoever may read them."""
    first = pack_folder(write_plugin(tmp_path / "one", GOOD))
    other = write_plugin(tmp_path / "two", dict(reversed(list(GOOD.items()))))
    for path in other.rglob("*"):
        os.utime(path, (time.time() + 86400,) * 2)
        path.chmod(0o700)
    assert pack_folder(other).data == first.data


def test_a_signed_package_differs_by_its_comment(tmp_path: Path) -> None:
    """And is the same for the same second."""
    root = write_plugin(tmp_path / "cat", GOOD)
    key = make_key()
    signed = pack_folder(root, key=key, now=7)
    assert signed.data == pack_folder(root, key=key, now=7).data
    assert signed.data != pack_folder(root, key=key, now=8).data
    assert Archive(signed.data, DEFAULT_LIMITS).comment.endswith(b'"time": 7}')
    assert signed.digests == pack_folder(root).digests


def test_what_is_ignored_is_left_out(tmp_path: Path) -> None:
    """`.difyignore` alone where there is one, otherwise `.gitignore`; links and pipes may be among it."""
    root = write_plugin(tmp_path / "cat", GOOD)
    (root / "notes").mkdir()
    (root / "notes" / "x.txt").write_text("x")
    (root / "draft.txt").write_text("x")
    (root / ".env").write_text("KEY=secret")
    (root / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe")
    (root / ".gitignore").write_text("notes/\nlink\npipe\n")
    assert names(pack_folder(root).data) == sorted([*GOOD, ".gitignore", "draft.txt"])
    (root / ".difyignore").write_text("draft.*\nlink\npipe\n.gitignore\n.difyignore\n")
    assert names(pack_folder(root).data) == sorted([*GOOD, "notes/x.txt"])


def test_what_cannot_be_packed_is_refused(tmp_path: Path) -> None:
    """Each by its name: links, pipes, odd names, folders that cannot be read, too large ones, no manifest."""
    cases: list[tuple[Callable[[Path], object], str]] = [
        (lambda root: (root / "link").symlink_to("manifest.yaml"), 'entry "link": .* a symbolic link; put the'),
        (lambda root: (root / "dir").symlink_to("/etc"), 'entry "dir": .* a symbolic link'),
        (lambda root: os.mkfifo(root / "pipe"), 'entry "pipe": .* a pipe, socket or device'),
        (lambda root: (root / "a\\b").write_text("x"), "a backslash"),
        (lambda root: (root / "a\nb").write_text("x"), "a control character"),
        (lambda root: Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")).write_text("x"), "other bytes"),
        (lambda root: (root / "MANIFEST.yaml").write_text("x"), "by case only"),
        (lambda root: (root / ".difyignore").mkdir(), 'entry ".difyignore": .* a folder'),
        (lambda root: (root / ".difyignore").write_text("x\n" * 1001), "at most 1000 patterns"),
        (lambda root: (root / "large").write_bytes(bytes(20_000)), 'entry "large": expected at most'),
        (lambda root: [(root / str(name)).write_text("x") for name in range(50)], "more than 40 files"),
        (lambda root: (root / "manifest.yaml").unlink(), "expected a manifest.yaml in"),
    ]
    for number, (make, message) in enumerate(cases):
        root = write_plugin(tmp_path / str(number), GOOD)
        make(root)
        with pytest.raises(PackageError, match=message):
            pack_folder(root, limits=PackageLimits(total_bytes=20_000, files=40))
    with pytest.raises(PackageError, match="no such file or directory"):
        pack_folder(tmp_path / "none")


@given(
    files=st.dictionaries(
        st.lists(st.text(st.sampled_from("abcü. *"), min_size=1, max_size=4), min_size=1, max_size=3).map("/".join),
        st.binary(max_size=1000),
        max_size=5,
    )
)
def test_what_is_packed_can_be_unpacked(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any files beside those of a plugin: the same names and contents, or a refusal before anything is packed."""
    base = tmp_path_factory.mktemp("pack")
    root = write_plugin(base / "cat", GOOD)
    for name, content in files.items():
        path = root / name
        if not path.is_relative_to(root) or ".." in path.parts or any(one.is_file() for one in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.write_bytes(content)
    unpacked = PackageFolders(base / "plugins").add(pack_folder(root).data)
    wanted = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    found = unpacked.plugin.root
    assert {path.relative_to(found): path.read_bytes() for path in found.rglob("*") if path.is_file()} == wanted

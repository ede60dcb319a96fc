"""Byte code of plugins: only what belongs to the plugin is stored, and only what belongs to its source is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import MAGIC_NUMBER
from pathlib import Path

import pytest
from msgpack import UnpackException, packb

from worker import bytecode
from worker.bytecode import BytecodeLoader, CompilePlugin, store_bytecode


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin's folder."""
    root = tmp_path / "plugin"
    (root / "endpoints").mkdir(parents=True)
    (root / "endpoints" / "main.py").write_text("ANSWER = 42\n")
    return root


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of byte code."""
    folder = tmp_path / "bytecode"
    folder.mkdir()
    monkeypatch.setattr(bytecode, "BYTECODE", str(folder))
    return folder


def compiled(root: Path) -> bytes:
    """What a worker answers."""
    kind = type("CompilePlugin", (CompilePlugin,), {"root": str(root)})
    return b"".join(kind(None)._invoke(None, {}, {}).response)


def keep(archive: bytes, store: Path, root: Path) -> int:
    """Store an answer."""
    archive_fd, folder_fd = os.memfd_create("archive"), os.open(store, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.write(archive_fd, archive)
        return store_bytecode(archive_fd, folder_fd, str(root))
    finally:
        os.close(archive_fd)
        os.close(folder_fd)


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    """The files that are compiled meanwhile. The hook itself cannot be taken back; it falls silent."""
    seen: list[str] = []
    active = [True]

    def hook(event: str, given: tuple[object, ...]) -> None:
        if active and event == "compile":
            seen.append(str(given[1]))

    sys.addaudithook(hook)
    yield seen
    active.clear()


def test_stored_code_is_imported(plugin: Path, store: Path, compilations: list[str]) -> None:
    """Nothing is compiled a second time."""
    assert keep(compiled(plugin), store, plugin) == 1
    compilations.clear()
    path = str(plugin / "endpoints" / "main.py")
    code = BytecodeLoader("endpoints.main", path).get_code("endpoints.main")
    assert code is not None
    assert (code.co_filename, compilations) == (path, [])
    assert sys.pycache_prefix is None


def test_changed_sources_are_compiled(plugin: Path, store: Path, compilations: list[str]) -> None:
    """Byte code of an older source is not used."""
    keep(compiled(plugin), store, plugin)
    path = plugin / "endpoints" / "main.py"
    path.write_text("ANSWER = 43, 44\n")
    compilations.clear()
    code = BytecodeLoader("endpoints.main", str(path)).get_code("endpoints.main")
    assert code is not None
    assert (43, 44) in code.co_consts
    assert compilations == [str(path)]


def test_what_cannot_be_compiled_is_left_out(plugin: Path) -> None:
    """Sources with errors, of other encodings and of huge size, and environments, do not keep the rest from it."""
    (plugin / "wrong.py").write_text("def")
    (plugin / "bytes.py").write_bytes(b"\xff\0")
    (plugin / "deep.py").write_text("(" * 50_000)
    (plugin / "large.py").write_text("#" * (bytecode.MAX_SOURCE + 1))
    for name in (".hidden", "venv"):
        (plugin / name).mkdir()
        (plugin / name / "more.py").write_text("x = 1")
    (plugin / "venv" / "pyvenv.cfg").touch()
    archive = compiled(plugin)
    assert archive.count(MAGIC_NUMBER) == 1
    assert str(plugin / "endpoints" / "main.py").encode() in archive


@pytest.mark.parametrize(
    "entry",
    [
        ["{root}/../other/main.py", b"x"],
        ["{root}", b"x"],
        ["{root}x/main.py", b"x"],
        ["/etc/main.py", b"x"],
        ["endpoints/main.py", b"x"],
        ["{root}/./main.py", b"x"],
        ["{root}//main.py", b"x"],
        ["{root}/main.pyc", b"x"],
        ["{root}/ma\0in.py", b"x"],
        ["{root}/main.py", "text"],
        ["{root}/main.py"],
        ["{root}/main.py", b"x", 1],
        [1, b"x"],
        {},
        None,
    ],
)
def test_entries_that_are_refused(plugin: Path, store: Path, entry: object) -> None:
    """Nothing outside of the plugin's folder is ever named, nothing but files of code."""
    match entry:
        case [str(path), *rest]:
            entry = [path.format(root=plugin), *rest]
    with pytest.raises(ValueError, match="not a path below"):
        keep(packb(entry), store, plugin)
    assert not [path for path in store.rglob("*") if path.is_file()]


@pytest.mark.parametrize("archive", [b"\xc1", b"\x92\xa3", packb([1]) + b"\xc1"])
def test_archives_that_are_refused(plugin: Path, store: Path, archive: bytes) -> None:
    """What is no msgpack, or is cut, is not stored."""
    try:
        assert keep(archive, store, plugin) == 0
    except (ValueError, UnpackException):
        assert not list(store.iterdir())

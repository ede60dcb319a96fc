"""Landlock: what may be read and written under it, and what of it older kernels have."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.worker.forked import in_child, in_user_namespace, open_descriptors
from worker.lockdown import landlock
from worker.lockdown.calls import CLONE_NEWNET, set_capabilities
from worker.lockdown.credentials import forbid_new_privileges
from worker.lockdown.landlock import abi_version, restrict_files

TCP: Final = 4
SCOPES: Final = 6
TRUNCATE: Final = 3


def attempt(call: Callable[[], object]) -> int:
    """Do something; the number of the error, or 0."""
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0


def restricted(folder: Path, function: Callable[[], object]) -> object:
    """Run a function in a child that may write below a folder, and to /dev/null."""

    def enter() -> object:
        forbid_new_privileges()
        restrict_files((str(folder),), ("/dev/null",))
        return function()

    return in_child(enter)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder that may be written, and one that may not, each with a file."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "file").write_text("text")
    return inside, outside


def test_files(folders: tuple[Path, Path]) -> None:
    """Everything may be read, but changed only what is below the folder that may be written."""
    inside, outside = folders

    def change(folder: Path) -> list[int]:
        return [
            attempt((folder / "file").read_text),
            attempt(lambda: list(folder.iterdir())),
            attempt(lambda: (folder / "file").write_text("new")),
            attempt(lambda: (folder / "new").write_text("new")),
            attempt((folder / "folder").mkdir),
            attempt(lambda: (folder / "link").symlink_to("file")),
            attempt(lambda: os.mkfifo(folder / "pipe")),
            attempt(lambda: (folder / "file").rename(folder / "renamed")),
            attempt((folder / "renamed").unlink),
        ]

    assert restricted(inside, lambda: change(inside)) == [0] * 9
    assert restricted(inside, lambda: change(outside)) == [0, 0, *[errno.EACCES] * 6, errno.ENOENT]
    assert [path.name for path in outside.iterdir()] == ["file"]


def test_truncate(folders: tuple[Path, Path]) -> None:
    """A file that may not be written may not be cut either, where the kernel can tell that."""
    inside, outside = folders
    number = errno.EACCES if abi_version() >= TRUNCATE else 0

    assert restricted(inside, lambda: attempt(lambda: os.truncate(outside / "file", 0))) == number
    assert restricted(inside, lambda: attempt(lambda: os.truncate(inside / "file", 0))) == 0


def test_no_way_around(folders: tuple[Path, Path]) -> None:
    """Links, `..`, /proc/self/fd and folders moved or linked in do not make anything writable."""
    inside, outside = folders

    def try_ways() -> list[int]:
        (inside / "way").symlink_to(outside)
        os.chdir(inside)
        descriptor = os.open(outside, os.O_RDONLY | os.O_DIRECTORY)
        return [
            attempt(lambda: (inside / "way/file").write_text("x")),
            attempt(lambda: Path("../outside/file").write_text("x")),
            attempt(lambda: Path(f"/proc/self/fd/{descriptor}/file").write_text("x")),
            attempt(lambda: os.open("file", os.O_WRONLY, dir_fd=descriptor)),
            attempt(lambda: os.link(outside / "file", inside / "linked")),
            attempt(lambda: outside.rename(inside / "moved")),
        ]

    found = restricted(inside, try_ways)
    assert isinstance(found, list)
    assert found[:4] == [errno.EACCES] * 4
    assert set(found[4:]) <= {errno.EACCES, errno.EXDEV}


def test_devices(tmp_path: Path) -> None:
    """A device that is named may be written, another may not, though its mode would let everybody."""

    def write() -> list[int]:
        return [attempt(lambda path=path: os.open(path, os.O_WRONLY)) for path in ("/dev/null", "/dev/zero")]  # type: ignore[misc]

    assert restricted(tmp_path, write) == [0, errno.EACCES]


def test_programs_inherit_it(folders: tuple[Path, Path]) -> None:
    """Programs can be executed, and are restricted as well."""
    inside, outside = folders
    command = f"cat {outside}/file; echo x > {inside}/made; echo x > {outside}/made"

    def run() -> list[object]:
        result = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
        return [result.stdout, result.returncode == 0]

    assert restricted(inside, run) == ["text", False]
    assert sorted(path.name for path in inside.iterdir()) == ["file", "made"]


def test_tcp(tmp_path: Path) -> None:
    """TCP can be neither bound nor connected, where the kernel can refuse that."""

    def use() -> list[int]:
        bound, connected = socket.socket(), socket.socket()
        return [
            attempt(lambda: bound.bind(("127.0.0.1", 0))),
            attempt(lambda: connected.connect(("127.0.0.1", 1))),
        ]

    refused = abi_version() >= TCP
    expected = [errno.EACCES] * 2 if refused else [0, errno.ENETUNREACH]
    assert in_user_namespace(CLONE_NEWNET, lambda: restricted(tmp_path, use)) == expected


def test_scopes(tmp_path: Path) -> None:
    """Signals and abstract sockets end at the border of the domain, where the kernel can make them."""
    name = f"\0{tmp_path}"

    def use() -> list[int]:
        child = os.fork()
        if child == 0:
            signal.pause()
        with socket.socket(socket.AF_UNIX) as client:
            return [
                attempt(lambda: os.kill(os.getppid(), 0)),
                attempt(lambda: os.kill(child, signal.SIGKILL)),
                attempt(lambda: client.connect(name)),
            ]

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        refused = abi_version() >= SCOPES
        assert restricted(tmp_path, use) == ([errno.EPERM, 0, errno.EPERM] if refused else [0, 0, 0])


def test_older_kernels(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version of the ABI up to the kernel's is enough to protect files, with fewer kinds of rights."""
    inside, outside = folders

    def write() -> list[int]:
        return [attempt(lambda folder=folder: (folder / "file").write_text("x")) for folder in folders]  # type: ignore[misc]

    for abi in range(1, abi_version() + 1):
        monkeypatch.setattr(landlock, "abi_version", lambda abi=abi: abi)
        assert restricted(inside, write) == [0, errno.EACCES], abi
    assert (outside / "file").read_text() == "text"


def test_newer_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an ABI that is newer than what we know, what we know is used."""
    version = abi_version()
    monkeypatch.setattr(landlock, "abi_version", lambda: version)

    def enter() -> int:
        forbid_new_privileges()
        return restrict_files((str(tmp_path),), ())

    assert in_child(enter) == version >= 1


def test_refusals(tmp_path: Path) -> None:
    """Without the promise to get no new rights the kernel refuses; a folder that is not there is an error, too."""

    def without_promise() -> str:
        set_capabilities(effective=0, permitted=0)
        with pytest.raises(PermissionError) as raised:
            restrict_files((), ())
        return str(raised.value)

    def missing() -> str:
        forbid_new_privileges()
        with pytest.raises(FileNotFoundError) as raised:
            restrict_files((str(tmp_path / "none"),), ())
        return str(raised.value.filename)

    assert in_child(without_promise) == "[Errno 1] landlock_restrict_self: Operation not permitted"
    assert in_child(missing) == str(tmp_path / "none")


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    """Nothing that was opened to make the rules stays open, whether they could be made or not."""

    def count() -> list[object]:
        before = open_descriptors()
        forbid_new_privileges()
        with pytest.raises(FileNotFoundError):
            restrict_files((str(tmp_path / "none"),), ())
        restrict_files((str(tmp_path),), ("/dev/null",))
        return [before == open_descriptors()]

    assert in_child(count) == [True]


def test_structure_has_no_gaps() -> None:
    """The structure of a rule is packed as the kernel expects it."""
    assert ctypes.sizeof(landlock._PathBeneath) == 12
    assert ctypes.sizeof(landlock._RulesetAttr) == 24

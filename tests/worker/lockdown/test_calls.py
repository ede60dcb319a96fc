"""System calls that Python does not offer: what they do, and what is said when the kernel refuses."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.worker.forked import in_child, in_user_namespace, open_descriptors, status_field
from worker.lockdown.calls import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_REC,
    call_kernel,
    close_range,
    control_process,
    mount,
    pivot_root,
    restrict_mount,
    set_capabilities,
    set_dumpable,
    umount,
    unshare,
)

NEW_MOUNTS = CLONE_NEWNS | CLONE_NEWPID


@pytest.mark.parametrize(
    ("call", "number", "text"),
    [
        (lambda: unshare(-1), errno.EINVAL, "unshare"),
        (lambda: mount("none", "/nonexistent", "tmpfs"), errno.ENOENT, "mount /nonexistent"),
        (lambda: mount("none", "/tmp", "no-such-kind"), errno.ENODEV, "mount /tmp"),
        (lambda: umount("/nonexistent"), errno.ENOENT, "umount /nonexistent"),
        (lambda: pivot_root("/nonexistent", "/nonexistent/old"), errno.ENOENT, "pivot_root /nonexistent"),
        (lambda: restrict_mount("/nonexistent", 1, recursive=True), errno.ENOENT, "mount_setattr /nonexistent"),
        (lambda: close_range(5, 4), errno.EINVAL, "close_range"),
        (lambda: control_process(0x7FFF_FFFF, 0), errno.EINVAL, "prctl(2147483647)"),
        (lambda: set_capabilities(effective=1, permitted=0), errno.EPERM, "capset"),
        (lambda: call_kernel("something", 100_000), errno.ENOSYS, "something"),
    ],
)
def test_refusals(call: Callable[[], object], number: int, text: str) -> None:
    """A call that the kernel refuses raises OSError with the number, and the name of the call and its target."""

    def provoke() -> list[object]:
        with pytest.raises(OSError, match=r".") as raised:
            call()
        return [raised.value.errno, raised.value.strerror]

    assert in_user_namespace(NEW_MOUNTS, provoke) == [number, f"{text}: {os.strerror(number)}"]


def test_unshare() -> None:
    """What is changed in a new namespace is not changed outside."""
    before = socket.gethostname()

    def rename() -> str:
        unshare(CLONE_NEWUTS)
        socket.sethostname("other")
        return socket.gethostname()

    assert in_user_namespace(0, rename) == "other"
    assert socket.gethostname() == before


def test_mount_and_umount(tmp_path: Path) -> None:
    """A file system is mounted with flags and options, covers what was there, and goes."""
    (tmp_path / "below").touch()

    def names() -> list[str]:
        return [path.name for path in tmp_path.iterdir()]

    def use() -> list[object]:
        mount("test", str(tmp_path), "tmpfs", flags=MS_NOSUID | MS_NODEV, options="size=64k,mode=0711")
        flags, within = os.statvfs(tmp_path).f_flag, names()
        mode = tmp_path.stat().st_mode
        umount(str(tmp_path))
        return [bool(flags & os.ST_NOSUID), bool(flags & os.ST_RDONLY), within, oct(mode), names()]

    assert in_user_namespace(NEW_MOUNTS, use) == [True, False, [], "0o40711", ["below"]]


@pytest.mark.parametrize("recursive", [True, False])
def test_restrict_mount(tmp_path: Path, recursive: bool) -> None:  # noqa: FBT001
    """Attributes are added to a mount, and to those below it only if that is wanted; others stay as they are."""
    below = tmp_path / "below"

    def restrict() -> list[bool]:
        mount("outer", str(tmp_path), "tmpfs", flags=MS_NOSUID)
        below.mkdir()
        mount("inner", str(below), "tmpfs")
        restrict_mount(str(tmp_path), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC, recursive=recursive)
        outer, inner = os.statvfs(tmp_path).f_flag, os.statvfs(below).f_flag
        wanted = os.ST_RDONLY | os.ST_NOEXEC
        return [outer & wanted == wanted, bool(outer & os.ST_NOSUID), inner & wanted == wanted, inner & wanted == 0]

    assert in_user_namespace(NEW_MOUNTS, restrict) == [True, True, recursive, not recursive]


def test_locked_mounts_cannot_be_made_writable(tmp_path: Path) -> None:
    """A mount that a user namespace has inherited can be neither changed back nor taken away in it."""

    def try_it() -> list[int]:
        def undo(call: Callable[[], None]) -> int:
            try:
                call()
            except OSError as error:
                return error.errno or 0
            return 0

        mount("test", str(tmp_path), "tmpfs")
        restrict_mount(str(tmp_path), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, recursive=False)
        remount = 32 | MS_BIND
        calls = (
            lambda: umount(str(tmp_path)),
            lambda: mount(None, str(tmp_path), None, flags=remount),
            lambda: mount(str(tmp_path), "/mnt", None, flags=MS_BIND | MS_REC),
            (Path("/mnt") / "new").touch,
        )
        return in_user_namespace(CLONE_NEWNS, lambda: [undo(call) for call in calls])

    assert in_user_namespace(NEW_MOUNTS, try_it) == [errno.EINVAL, errno.EPERM, 0, errno.EROFS]


def test_pivot_root(tmp_path: Path) -> None:
    """The root is replaced, and the old one is where it was to be put."""

    def change() -> list[object]:
        mount("root", str(tmp_path), "tmpfs")
        (tmp_path / "old").mkdir()
        pivot_root(str(tmp_path), str(tmp_path / "old"))
        os.chdir("/")
        return [[path.name for path in Path("/").iterdir()], Path("/old/usr").is_dir()]

    assert in_user_namespace(NEW_MOUNTS, change) == [["old"], True]


def test_close_range() -> None:
    """Every descriptor of the range is closed, and no other."""

    def close_some() -> list[int]:
        first = max(open_descriptors()) + 1
        for number in range(first, first + 5):
            os.dup2(0, number)
        close_range(first + 1, first + 3)
        return [number - first for number in range(first, first + 5) if number in open_descriptors()]

    assert in_child(close_some) == [0, 4]


def test_set_dumpable() -> None:
    """A process that is not dumpable belongs to root in /proc, and cannot be opened there by its user."""

    def look() -> list[int]:
        set_dumpable(True)
        before = Path("/proc/self/environ").stat().st_uid
        set_dumpable(False)
        after = Path("/proc/self/environ").stat().st_uid
        return [before, after, control_process(3, 0)]

    assert in_child(look) == [os.getuid(), 0, 0]


def test_set_capabilities() -> None:
    """The sets become what they are told to, high words included, and what was given up cannot be got back."""

    def drop() -> list[str]:
        set_capabilities(effective=1 << 33, permitted=1 << 33 | 0b10)
        with pytest.raises(PermissionError):
            set_capabilities(effective=1 << 5, permitted=1 << 5)
        return [status_field(name) for name in ("CapInh", "CapPrm", "CapEff")]

    assert in_user_namespace(0, drop) == ["0" * 16, "0000000200000002", "0000000200000000"]


def test_arguments_of_any_kind() -> None:
    """A system call without a function in the C library is made with what it needs, and its result returned."""
    getppid = {"x86_64": 110, "aarch64": 173}[os.uname().machine]
    assert call_kernel("getppid", getppid) == os.getppid()
    assert call_kernel("getppid", getppid, ctypes.c_int(0)) == os.getppid()

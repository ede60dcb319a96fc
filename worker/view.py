"""The files that endpoints see: a root of our own, read-only, with nothing in it that is not listed here.

Theory of operation
-------------------
A plugin zygote builds the view once, in a mount namespace of its own; its slots and workers inherit it. What a slot or
worker then makes of it (its own /proc, a private /tmp) stays in namespaces of their own again, and mounts that come
from a zygote are locked there: they can be neither removed nor made writable.

1. A tmpfs is put over some folder of the host, in our namespace only, and becomes the root; the host's root moves to
   `/old` in it. So paths of the host stay reachable while the view is put together in `/new`.
2. Trees are bound at the paths that they have on the host, with everything mounted below them, read-only, without
   set-user-id and devices. Folders above them are empty but for what leads to other trees.
3. The view becomes the root, and the host's root is detached, with all that was mounted on it.

As root of the host, the trees are found with root's rights, but read by workers that have none. A plugin folder that is
not open to everybody is therefore copied into memory, up to MAX_COPY; everything else is bound.

A zygote that sees a view itself builds that of a plugin from it, as if it were the host, but for the plugin's folder,
which is not there: it is lent (`worker.lending`).
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from os import close
from typing import Final

from worker.lockdown.calls import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    attach_tree,
    mount,
    pivot_root,
    restrict_mount,
    umount,
)

__all__ = [
    "BASES",
    "BYTECODE",
    "MAX_COPY",
    "SCRATCH",
    "SCRATCH_PARENT",
    "TEMPORARY",
    "WRITABLE_DEVICES",
    "ViewError",
    "build_view",
    "copy_folder",
    "interpreter_trees",
    "is_open",
]

SCRATCH_PARENT: Final = "/private"
SCRATCH: Final = f"{SCRATCH_PARENT}/tmp"  # noqa: S108 - of the view
"""Where the private files of a worker are: an empty folder of the view, where every slot mounts its own.

It is below a folder of its own so that Landlock can let it be written, whatever is mounted there by then.
"""

BYTECODE: Final = "/bytecode"
"""Where the byte code of the plugin is (`worker.bytecode`)."""

TEMPORARY: Final = "/tmp"  # noqa: S108 - a link to SCRATCH
"""The same folder by its usual name, which is what workers are told."""

WRITABLE_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full")

_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

MAX_COPY: Final = 256 * 1024**2
"""Bytes of a private plugin folder that are copied into memory: five times what Dify takes as a package."""

_SYSTEM_TREES: Final = (
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/usr/libexec",
    "/usr/share",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/protocols",
    "/etc/services",
    "/etc/pki/ca-trust/extracted",
    "/etc/pki/tls/certs",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
)
"""What programs and libraries of the system need, as far as the host has it. /usr/local only where Python is there."""

_LINKS: Final = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/shm": SCRATCH,  # noqa: S108 - POSIX shared memory and semaphores are private files, too
}

_TEXTS: Final = {
    "/etc/passwd": "root:x:0:0::/nonexistent:/bin/false\nworker:x:1000:1000::/tmp:/bin/sh\n",
    "/etc/group": "root:x:0:\nworker:x:1000:\n",
    "/etc/hosts": "127.0.0.1 localhost worker\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}

BASES: Final = ("/tmp", "/run", "/var", "/mnt", "/usr")  # noqa: S108 - folders of the host, only covered for us
_OLD: Final = "/old"
_NEW: Final = "/new"
_LOCKED: Final = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID
_OTHERS_FOLDER: Final = stat.S_IROTH | stat.S_IXOTH
_OPEN_FILE: Final = 0o444
_OPEN_FOLDER: Final = 0o555


class ViewError(Exception):
    """The view cannot be built; the text says what of it, and what to do."""


def interpreter_trees() -> tuple[str, ...]:
    """List the folders that the running interpreter imports from."""
    trees = [sys.base_prefix, sys.base_exec_prefix, sys.prefix, sys.exec_prefix, *sys.path]
    return tuple(tree for tree in dict.fromkeys(trees) if os.path.isabs(tree) and tree not in {"/usr", "/"})


def build_view(
    trees: Iterable[str],
    plugin_root: str,
    *,
    copy_private: bool,
    lent_fd: int = -1,
    writable: Mapping[str, str] | None = None,
) -> int:
    """Replace everything that this process sees of the host's files by the view. It is its own mount namespace.

    Args:
        trees: Folders and files to be seen besides the system's, by absolute paths; missing ones are left out.
        plugin_root: The plugin's folder; empty for none.
        copy_private: Whether workers have fewer rights to files than this process.
        lent_fd: The plugin's folder, where it was lent; -1 where it is on the host.
        writable: Folders of the host that may be written, by the paths that they have in the view.

    Returns:
        The folder BYTECODE of the view, to be written; in the view it can only be read.

    Raises:
        OSError: The kernel refused; the text names the call.
        ViewError: The plugin's folder cannot be shown.
    """
    mount(None, "/", None, flags=MS_REC | MS_PRIVATE)
    _start_from_nothing()
    for folder in (SCRATCH, "/proc", "/dev", "/etc"):
        os.makedirs(_NEW + folder, exist_ok=True)
    os.symlink(SCRATCH.removeprefix("/"), _NEW + TEMPORARY)
    shown: list[str] = []
    for tree in sorted({*_SYSTEM_TREES, *trees}, key=len):
        if not _is_below(tree, shown):
            _show(tree)
            shown.append(tree)
    if lent_fd >= 0:
        os.makedirs(_NEW + plugin_root, exist_ok=True)
        attach_tree(lent_fd, _NEW + plugin_root)
    elif plugin_root and copy_private and not is_open(_OLD + plugin_root):
        os.makedirs(_NEW + plugin_root, exist_ok=True)
        copy_folder(_OLD + plugin_root, _NEW + plugin_root, plugin_root)
    elif plugin_root and not _is_below(plugin_root, shown):
        _show(plugin_root)
    for target, source in (writable or {}).items():
        os.makedirs(_NEW + target, exist_ok=True)
        mount(_OLD + source, _NEW + target, None, flags=MS_BIND)
        restrict_mount(_NEW + target, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, recursive=False)
    bytecode_fd = _make_bytecode()
    _make_small_things()
    mount("proc", f"{_NEW}/proc", "proc", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.chdir(_NEW)
    pivot_root(".", ".")  # the host's root now lies on top of ours
    umount(".")
    os.chdir("/")
    restrict_mount("/", _LOCKED | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, recursive=False)
    return bytecode_fd


def _make_bytecode() -> int:
    """Mount a file system in memory twice: once to be written, which nobody finds, and over it once to be read.

    Whoever has the descriptor may write: the zygote that we become has other ids than the one who mounts.
    """
    target = _NEW + BYTECODE
    os.mkdir(target)
    mount("bytecode", target, "tmpfs", flags=MS_NOSUID | MS_NODEV, options=f"mode=777,size={MAX_COPY}")
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    mount(target, target, None, flags=MS_BIND)
    restrict_mount(target, _LOCKED | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, recursive=False)
    return descriptor


def _start_from_nothing() -> None:
    """Make an empty file system the root, with the host's at `/old` and a place for the view at `/new`."""
    base = next(folder for folder in BASES if os.path.isdir(folder))
    mount("view", base, "tmpfs", flags=MS_NOSUID | MS_NODEV, options="mode=755")
    os.chdir(base)
    for folder in (_OLD, _NEW):
        os.mkdir(base + folder)
    pivot_root(".", base + _OLD)
    os.chdir("/")
    mount("view", _NEW, "tmpfs", flags=MS_NOSUID | MS_NODEV, options="mode=755")


def _show(path: str) -> None:
    """Bind a tree, or copy a symbolic link, from the host at the same path; nothing where there is none."""
    source, target = _OLD + path, _NEW + path
    try:
        mode = os.lstat(source).st_mode
    except OSError:
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if stat.S_ISLNK(mode) and not os.path.isabs(os.readlink(source)):
        os.symlink(os.readlink(source), target)
        return
    resolved = _resolve(source) if stat.S_ISLNK(mode) else source
    if os.path.isdir(resolved):
        os.makedirs(target, exist_ok=True)
    else:
        close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o444))
    mount(resolved, target, None, flags=MS_BIND | MS_REC)
    restrict_mount(target, _LOCKED | MOUNT_ATTR_NODEV, recursive=True)


def _resolve(link: str) -> str:
    """Follow an absolute symbolic link of the host, whose root is somewhere else now."""
    target = os.readlink(link)
    found = _OLD + target if os.path.isabs(target) else os.path.join(os.path.dirname(link), target)
    return _resolve(found) if os.path.islink(found) else found


def _is_below(path: str, shown: Iterable[str]) -> bool:
    return any(path == tree or path.startswith(tree + "/") for tree in shown)


def is_open(folder: str) -> bool:
    """Whether everybody may read the folder and all that is in it."""
    return all(
        status.st_mode & (needed := _OTHERS_FOLDER if stat.S_ISDIR(status.st_mode) else stat.S_IROTH) == needed
        for status in _statuses(folder)
        if not stat.S_ISLNK(status.st_mode)
    )


def _statuses(folder: str) -> Iterator[os.stat_result]:
    yield os.stat(folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _statuses(entry.path)
            else:
                yield entry.stat(follow_symlinks=False)


def copy_folder(source: str, target: str, plugin_root: str) -> None:
    """Copy a private plugin folder into memory, for everybody to read.

    Args:
        source: Where it is.
        target: Where a file system in memory with the copy is mounted, read-only.
        plugin_root: Its name, for people.

    Raises:
        OSError: The kernel refused.
        ViewError: It is over MAX_COPY bytes.
    """
    size = sum(status.st_size for status in _statuses(source) if stat.S_ISREG(status.st_mode))
    if size > MAX_COPY:
        raise ViewError(
            f"the plugin folder {plugin_root} is not readable for everybody, and with {size} bytes too large to be "
            f"copied (at most {MAX_COPY}): chmod -R o+rX {plugin_root}"
        )
    mount("plugin", target, "tmpfs", flags=MS_NOSUID | MS_NODEV, options="mode=755")
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=_ignore_special)
    for folder, _, files in os.walk(target):
        os.chmod(folder, _OPEN_FOLDER)
        for name in files:
            if not os.path.islink(f"{folder}/{name}"):
                os.chmod(f"{folder}/{name}", _OPEN_FILE)
    restrict_mount(target, _LOCKED | MOUNT_ATTR_NODEV, recursive=False)


def _ignore_special(folder: str, names: list[str]) -> list[str]:
    """Leave out what is neither file, folder nor link: opening a pipe would wait for ever."""
    modes = {name: os.lstat(f"{folder}/{name}").st_mode for name in names}
    return [
        name for name, mode in modes.items() if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))
    ]


def _make_small_things() -> None:
    for path, text in _TEXTS.items():
        with open(_NEW + path, "x", encoding="utf-8") as file:
            file.write(text)
    for path, target in _LINKS.items():
        os.symlink(target, _NEW + path)
    for device in _DEVICES:
        close(os.open(_NEW + device, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        mount(_OLD + device, _NEW + device, None, flags=MS_BIND)
        restrict_mount(_NEW + device, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, recursive=False)

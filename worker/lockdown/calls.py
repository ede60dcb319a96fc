"""System calls that Python does not offer, by ctypes; each raises OSError with its name when the kernel refuses.

Sources: unshare(2), mount(2), pivot_root(2), open_tree(2), move_mount(2), mount_setattr(2), close_range(2), capset(2),
prctl(2).
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

__all__ = [
    "CLONE_NEWCGROUP",
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "MOUNT_ATTR_NODEV",
    "MOUNT_ATTR_NOEXEC",
    "MOUNT_ATTR_NOSUID",
    "MOUNT_ATTR_RDONLY",
    "MS_BIND",
    "MS_NODEV",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_REC",
    "attach_tree",
    "call_kernel",
    "close_range",
    "control_process",
    "detach_tree",
    "mount",
    "pivot_root",
    "restrict_mount",
    "set_capabilities",
    "set_dumpable",
    "umount",
    "unshare",
]

CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWCGROUP: Final = 0x0200_0000
CLONE_NEWUTS: Final = 0x0400_0000
CLONE_NEWIPC: Final = 0x0800_0000
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWPID: Final = 0x2000_0000
CLONE_NEWNET: Final = 0x4000_0000
"""Kinds of namespaces, from linux/sched.h."""

MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x4_0000
"""Flags of mount(2), from linux/mount.h."""

MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8
"""Attributes of mount_setattr(2), from linux/mount.h."""

_MNT_DETACH: Final = 2
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_PR_SET_DUMPABLE: Final = 4
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_NR_OPEN_TREE: Final = 428
_NR_MOVE_MOUNT: Final = 429
_NR_CLOSE_RANGE: Final = 436
_NR_MOUNT_SETATTR: Final = 442
"""Numbers of system calls added since 2019, which are the same on all architectures."""

_CAPABILITY_VERSION_3: Final = 0x2008_0522

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_libc.syscall.restype = ctypes.c_long


class _MountAttr(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _CapabilityHeader(ctypes.Structure):
    """`struct __user_cap_header_struct` of capset(2)."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


_CapabilitySets = ctypes.c_uint32 * 6  # (effective, permitted, inheritable), low words first


def call_kernel(name: str, number: int, *arguments: object) -> int:
    """Make a system call that the C library has no function for.

    Args:
        name: For the error.
        number: The number of the system call on this machine.
        arguments: ctypes values.

    Raises:
        OSError: The kernel refused.
    """
    return _checked(int(_libc.syscall(ctypes.c_long(number), *arguments)), name)


def unshare(flags: int) -> None:
    """Move this process, or its future children, into new namespaces."""
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str | None, target: str, kind: str | None, *, flags: int = 0, options: str = "") -> None:
    """Mount something on `target`."""
    _checked(
        _libc.mount(
            None if source is None else os.fsencode(source),
            os.fsencode(target),
            None if kind is None else kind.encode(),
            flags,
            options.encode() or None,
        ),
        f"mount {target}",
    )


def umount(target: str) -> None:
    """Detach the file system at `target` from here; it goes when nobody uses it any more."""
    _checked(_libc.umount2(os.fsencode(target), _MNT_DETACH), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root of this mount namespace, and leave the old one at `put_old`."""
    _checked(_libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old)), f"pivot_root {new_root}")


def restrict_mount(target: str, attributes: int, *, recursive: bool) -> None:
    """Add attributes to a mount, or to it and all that are below it."""
    attr = _MountAttr(attr_set=attributes)
    flags = ctypes.c_uint(_AT_RECURSIVE if recursive else 0)
    size = ctypes.c_size_t(ctypes.sizeof(attr))
    where = (ctypes.c_int(_AT_FDCWD), ctypes.c_char_p(os.fsencode(target)), flags)
    call_kernel(f"mount_setattr {target}", _NR_MOUNT_SETATTR, *where, ctypes.byref(attr), size)


def detach_tree(path: str) -> int:
    """Copy a mount with all that are below it, attached nowhere; the descriptor that holds it (open_tree(2))."""
    flags = ctypes.c_uint(_OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE)
    where = (ctypes.c_int(_AT_FDCWD), ctypes.c_char_p(os.fsencode(path)))
    return call_kernel(f"open_tree {path}", _NR_OPEN_TREE, *where, flags)


def attach_tree(descriptor: int, target: str) -> None:
    """Mount on `target` what was detached before, here or in another mount namespace (move_mount(2))."""
    source = (ctypes.c_int(descriptor), ctypes.c_char_p(b""))
    where = (ctypes.c_int(_AT_FDCWD), ctypes.c_char_p(os.fsencode(target)))
    flags = ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH)
    call_kernel(f"move_mount {target}", _NR_MOVE_MOUNT, *source, *where, flags)


def close_range(first: int, last: int) -> None:
    """Close every descriptor from `first` to `last`, both included."""
    call_kernel("close_range", _NR_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(last), ctypes.c_uint(0))


def control_process(option: int, value: int, second: int = 0) -> int:
    """Call prctl(2) with an option and one or two values."""
    return _checked(_libc.prctl(option, value, second, 0, 0), f"prctl({option})")


def set_dumpable(dumpable: bool) -> None:  # noqa: FBT001 - the name says it
    """Say whether processes of the same user may trace this one and read its files in /proc."""
    control_process(_PR_SET_DUMPABLE, int(dumpable))


def set_capabilities(*, effective: int, permitted: int) -> None:
    """Replace the sets of capabilities of the calling thread; the inheritable one becomes empty."""
    low = 0xFFFF_FFFF
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    sets = _CapabilitySets(effective & low, permitted & low, 0, effective >> 32, permitted >> 32, 0)
    _checked(_libc.capset(ctypes.byref(header), ctypes.byref(sets)), "capset")


def _checked(result: int, name: str) -> int:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result

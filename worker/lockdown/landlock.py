"""Landlock: a second opinion of the kernel on every file that is opened, whatever the mounts and permissions say.

The whole view may be read and executed, only the scratch folder and a few devices may be written. Where the kernel
is new enough, TCP is refused, and signals and abstract sockets end at the border of the domain.

Source: landlock(7), linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from os import close
from typing import Final

from worker.lockdown.calls import call_kernel

__all__ = ["abi_version", "restrict_files"]

_NR_CREATE_RULESET: Final = 444
_NR_ADD_RULE: Final = 445
_NR_RESTRICT_SELF: Final = 446
_CREATE_RULESET_VERSION: Final = ctypes.c_uint(1)
_RULE_PATH_BENEATH: Final = ctypes.c_int(1)
_RULE_NET_PORT: Final = ctypes.c_int(2)

_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_TRUNCATE: Final = 1 << 14
_ASK_DEVICE: Final = 1 << 15
"""ioctl(2) of a device; those that are meant here have none, and answer that they are no terminals."""

_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_FILE_RIGHTS: Final = ((1, 0x1FFF), (2, 0x3FFF), (3, 0x7FFF), (5, 0xFFFF))
"""(ABI, all rights to files that it knows), from the oldest on."""

_NETWORK_ABI: Final = 4
_NETWORK_RIGHTS: Final = 0b11
"""To bind and to connect TCP sockets; workers are allowed no port."""

_CONNECT: Final = 0b10

_SCOPE_ABI: Final = 6
_SCOPES: Final = 0b11
"""Abstract unix sockets and signals."""

_DEVICE_WRITE: Final = _WRITE_FILE | _READ_FILE | _TRUNCATE | _ASK_DEVICE


class _RulesetAttr(ctypes.Structure):
    """`struct landlock_ruleset_attr`; it has grown with the ABI, so its size is given along."""

    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    """`struct landlock_net_port_attr`."""

    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


def abi_version() -> int:
    """Tell which version of Landlock the kernel has in force.

    Raises:
        OSError: None: it is too old, built without it, or started without it.
    """
    return call_kernel("landlock", _NR_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)


def restrict_files(writable: Sequence[str], devices: Sequence[str], ports: Sequence[int] = ()) -> int:
    """Let this process and its children read everything they see, but write only below `writable` and to `devices`.

    Needs `no_new_privs`. It cannot be undone.

    Args:
        writable: Folders.
        devices: Single files.
        ports: TCP ports that may be connected to; none may be listened on.

    Returns:
        The version of the ABI that is in force.

    Raises:
        OSError: The kernel refused, or has no Landlock.
    """
    abi = abi_version()
    handled = max(rights for since, rights in _FILE_RIGHTS if since <= abi)
    ruleset = _create_ruleset(abi, handled)
    try:
        _allow(ruleset, "/", _READ)
        for folder in writable:
            _allow(ruleset, folder, handled)
        for device in devices:
            _allow(ruleset, device, _DEVICE_WRITE & handled)
        for port in ports if abi >= _NETWORK_ABI else ():
            _allow_port(ruleset, port)
        call_kernel("landlock_restrict_self", _NR_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))
    finally:
        close(ruleset)
    return abi


def _create_ruleset(abi: int, handled: int) -> int:
    attr = _RulesetAttr(fs=handled)
    size = 8
    if abi >= _NETWORK_ABI:
        attr.net = _NETWORK_RIGHTS
        size = 16
    if abi >= _SCOPE_ABI:
        attr.scoped = _SCOPES
        size = 24
    arguments = (ctypes.byref(attr), ctypes.c_size_t(size), ctypes.c_uint(0))
    return call_kernel("landlock_create_ruleset", _NR_CREATE_RULESET, *arguments)


def _allow(ruleset: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(allowed=rights, parent_fd=descriptor)
        arguments = (ctypes.c_int(ruleset), _RULE_PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint(0))
        call_kernel(f"landlock_add_rule {path}", _NR_ADD_RULE, *arguments)
    finally:
        close(descriptor)


def _allow_port(ruleset: int, port: int) -> None:
    rule = _NetPort(allowed=_CONNECT, port=port)
    arguments = (ctypes.c_int(ruleset), _RULE_NET_PORT, ctypes.byref(rule), ctypes.c_uint(0))
    call_kernel(f"landlock_add_rule port {port}", _NR_ADD_RULE, *arguments)

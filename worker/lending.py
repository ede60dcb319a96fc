"""How a zygote that sees nothing of the host gets the folder of a plugin: the base zygote, which sees it, lends it.

Theory of operation
-------------------
A zygote of an environment sees a view without any plugin (`worker.view`), and so do the zygotes of plugins that are
forked from it. A plugin's folder reaches its zygote as a *detached mount*: a descriptor, over a socket that the
supervisor has given to both. The base zygote forks a process for each, the lender, so that its own loop never waits:

1. In a mount namespace of its own, the lender mounts the folder, read-only, without set-user-id and devices, on some
   folder that every host has; a private one is copied into memory and mounted as such.
2. It enters a user namespace with a mount namespace once more. What is mounted there was made by somebody with more
   rights, so the kernel locks it: whoever is given a copy, root of a user namespace or not, cannot make it writable.
3. It detaches a copy, sends its descriptor, and ends. The mount is there as long as the zygote, and nowhere else.

What fails is said on the same socket, as a text. A lender that hangs, say on a file system of the network, is ended by
its own alarm, and by the end of the base zygote.

Sources: open_tree(2), move_mount(2), mount_setattr(2); mount_namespaces(7), "Restrictions on mount namespaces".
"""

from __future__ import annotations

import os
from contextlib import suppress
from os import close, fork, getpid
from select import POLLIN, poll
from signal import SIG_DFL, SIGALRM, alarm
from signal import signal as set_handler
from socket import MSG_CMSG_CLOEXEC, recv_fds, send_fds, socket
from typing import TYPE_CHECKING, Final

from worker.birth import end_as
from worker.descriptors import close_other_descriptors
from worker.kernel import die_with_parent, set_process_name
from worker.lockdown.calls import (
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_PRIVATE,
    MS_REC,
    detach_tree,
    mount,
    restrict_mount,
    unshare,
)
from worker.user_namespace import become_root_of_own_namespace
from worker.view import BASES, ViewError, copy_folder, is_open

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fork_lender", "receive_folder"]

LENDER_NAME: Final = "ee-lender"

LENDING_TIME_S: Final = 30
"""Longest life of a lender. It takes some milliseconds, or as long as a private folder is copied."""

WAITING_TIME_MS: Final = 35_000
"""Longest wait for a folder, in milliseconds: a lender that is out of time is gone by then."""

_LENT: Final = b"\0"
_MAX_ANSWER: Final = 8192
_LOCKED: Final = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV


def fork_lender(link_fd: int, plugin_root: str, *, copy_private: bool, forget: Callable[[], None]) -> None:
    """Fork a process that sends a plugin's folder over a socket, or says why it cannot, and ends. The caller waits.

    Args:
        link_fd: A SOCK_SEQPACKET socket, whose other end has the zygote that wants the folder. Borrowed.
        plugin_root: The folder.
        copy_private: Whether workers have fewer rights to files than this process.
        forget: Lets go of what belongs to the caller.

    Raises:
        OSError: No processes left.
    """
    parent = getpid()

    def lend() -> int:
        forget()
        close_other_descriptors({0, 1, 2, link_fd})
        set_process_name(LENDER_NAME)
        set_handler(SIGALRM, SIG_DFL)
        alarm(LENDING_TIME_S)
        die_with_parent(parent)
        with suppress(BrokenPipeError, ConnectionResetError):  # nobody wants it any more
            _lend(socket(fileno=link_fd), plugin_root, copy_private=copy_private)
        return 0

    if fork() == 0:
        end_as(lend)


def _lend(link: socket, plugin_root: str, *, copy_private: bool) -> None:
    try:
        tree = _detach_folder(plugin_root, copy_private=copy_private)
    except (OSError, ViewError) as error:
        text = (
            str(error)
            if isinstance(error, ViewError)
            else f"the plugin folder {plugin_root} cannot be shown: {error.strerror or error}"
        )
        link.send(text.encode(errors="replace")[:_MAX_ANSWER])
    else:
        send_fds(link, [_LENT], [tree])


def receive_folder(link_fd: int, plugin_root: str) -> int:
    """Wait for the folder of a plugin that is being lent.

    Args:
        link_fd: Where it comes from. Owned.
        plugin_root: Which one it is.

    Returns:
        The descriptor of a detached mount.

    Raises:
        ViewError: It cannot be had; the text says why.
    """
    with socket(fileno=link_fd) as link:
        poller = poll()
        poller.register(link, POLLIN)
        if not poller.poll(WAITING_TIME_MS):
            raise ViewError(f"the plugin folder {plugin_root} was not lent within {WAITING_TIME_MS} ms")
        try:
            said, descriptors, _, _ = recv_fds(link, _MAX_ANSWER, 1, MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            said, descriptors = b"", []
    if said == _LENT and descriptors:
        return descriptors[0]
    for descriptor in descriptors:
        close(descriptor)
    raise ViewError(
        said.decode(errors="replace") or f"the plugin folder {plugin_root} was not lent: its lender has ended"
    )


def _detach_folder(plugin_root: str, *, copy_private: bool) -> int:
    """Mount a plugin's folder for nobody yet, locked; the descriptor of that mount.

    Raises:
        OSError: The kernel refused, or there is no such folder.
        ViewError: The folder is private, and too large to be copied.
    """
    if not copy_private:
        become_root_of_own_namespace()
    unshare(CLONE_NEWNS)
    mount(None, "/", None, flags=MS_REC | MS_PRIVATE)
    os.chdir(plugin_root)  # what is mounted next may be above it
    place = next(folder for folder in BASES if os.path.isdir(folder))
    if copy_private and not is_open("."):
        copy_folder(".", place, plugin_root)
    else:
        mount(".", place, None, flags=MS_BIND | MS_REC)
        restrict_mount(place, _LOCKED, recursive=True)
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    return detach_tree(place)

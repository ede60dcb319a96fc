"""What is made anew for every worker: its mounts with a private folder, and its IPC namespace."""

from __future__ import annotations

import os
from collections.abc import Mapping

from worker.birth import WORKER_ID
from worker.lockdown.calls import CLONE_NEWIPC, CLONE_NEWNS, MS_BIND, MS_NODEV, MS_NOSUID, MS_REC, mount, unshare
from worker.view import SCRATCH

__all__ = ["enter_ipc", "make_private_files"]


def make_private_files(limits: Mapping[str, int]) -> None:
    """Mount an empty file system in memory on SCRATCH, as large as PREPARE says, that goes with the worker.

    What the view shows below SCRATCH, such as a plugin that is there on the host, stays where it is.

    Raises:
        OSError: The kernel refused.
    """
    unshare(CLONE_NEWNS)
    options = f"mode=1777,uid={WORKER_ID},gid={WORKER_ID}"
    if "scratch_size" in limits:
        options += f",size={max(limits['scratch_size'], 1)}"  # tmpfs(5): 0 is no limit, 1 is a page
    shown = os.listdir(SCRATCH)
    if "scratch_files" in limits:
        options += f",nr_inodes={limits['scratch_files'] + 1 + len(shown)}"  # its root is one, too
    covered = os.open(SCRATCH, os.O_PATH | os.O_CLOEXEC)
    try:
        mount("scratch", SCRATCH, "tmpfs", flags=MS_NOSUID | MS_NODEV, options=options)
        for name in shown:
            os.mkdir(f"{SCRATCH}/{name}")
            mount(f"/proc/self/fd/{covered}/{name}", f"{SCRATCH}/{name}", None, flags=MS_BIND | MS_REC)
    finally:
        os.close(covered)


def enter_ipc() -> None:
    """Leave behind every queue, semaphore and shared memory of System V and POSIX queues."""
    unshare(CLONE_NEWIPC)

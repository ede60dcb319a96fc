"""Giving up rights: identity, capabilities, and the way to new ones."""

from __future__ import annotations

import os
from typing import Final

from worker.lockdown.calls import control_process, set_capabilities
from worker.user_namespace import WORKER_ID

__all__ = ["become_unprivileged", "drop_capabilities", "forbid_new_privileges"]

_PR_SET_KEEPCAPS: Final = 8
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
"""Options of prctl(2)."""

_SETPCAP: Final = 1 << 8
_CAPABILITY_BITS: Final = 64


def become_unprivileged() -> None:
    """Be the worker's user and group, without further groups. Rootless, that is so from the start."""
    if os.getuid() == WORKER_ID:
        return
    control_process(_PR_SET_KEEPCAPS, 1)  # what is left of the rights is the next layer's business
    os.setgroups(())
    os.setresgid(WORKER_ID, WORKER_ID, WORKER_ID)
    os.setresuid(WORKER_ID, WORKER_ID, WORKER_ID)


def drop_capabilities() -> None:
    """Empty all five sets: inheritable, permitted, effective, bounding, ambient."""
    set_capabilities(effective=_SETPCAP, permitted=_SETPCAP)
    for number in range(_CAPABILITY_BITS):
        try:
            held = control_process(_PR_CAPBSET_READ, number)
        except OSError:
            break  # past the last capability that the kernel knows
        if held:
            control_process(_PR_CAPBSET_DROP, number)
    control_process(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    set_capabilities(effective=0, permitted=0)


def forbid_new_privileges() -> None:
    """Have no program that is executed get more rights than this process has."""
    control_process(_PR_SET_NO_NEW_PRIVS, 1)

"""Why control groups cannot be used, in words: what was tried, what the kernel said, and what to do about it."""

from __future__ import annotations

import errno
from typing import Final

__all__ = ["READ_ONLY_REMEDY", "RefusedError", "explain"]

DELEGATE_REMEDY: Final = (
    "run it as a systemd service with `Delegate=yes`, or from a shell with "
    "`systemd-run --user --scope -p Delegate=yes executor serve ...`"
)
V1_REMEDY: Final = (
    "run it as root, or boot with `systemd.unified_cgroup_hierarchy=1`: version 1 cannot be delegated to users safely"
)
READ_ONLY_REMEDY: Final = (
    "give the container a writable file system of control groups: `docker run --security-opt writable-cgroups=true`, "
    "`podman run --security-opt unmask=/sys/fs/cgroup`, or a privileged container"
)


class RefusedError(Exception):
    """Control groups cannot be used in one place.

    Attributes:
        reason: What was tried, and what the kernel said.
        remedy: What to do.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def explain(error: OSError, version: str, attempt: str) -> RefusedError:
    """Put an error of the kernel into words.

    Args:
        error: What was raised.
        version: Of control groups: `v1` or `v2`.
        attempt: What was tried, such as "make a folder in /sys/fs/cgroup".
    """
    reason = f"cgroup {version}: cannot {attempt}: {error.strerror}"
    if error.errno == errno.EROFS:
        return RefusedError(reason, READ_ONLY_REMEDY)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return RefusedError(reason, V1_REMEDY if version == "v1" else DELEGATE_REMEDY)
    return RefusedError(reason, "see cgroups(7) for what this kernel and this mount allow")

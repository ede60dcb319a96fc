"""What to do about a layer that the host does not give: the exact remedy, found by looking at the host's switches.

Source: user_namespaces(7), Documentation/admin-guide/sysctl/{kernel,user}.rst of Linux, Debian's and Ubuntu's notes on
unprivileged user namespaces, `docker run` and `podman run`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["find_remedy"]

_SWITCHES: Final = (
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "user namespaces are switched off: sysctl -w user.max_user_namespaces=15000, and the same in /etc/sysctl.d",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        (
            "ordinary users may not make user namespaces: sysctl -w kernel.unprivileged_userns_clone=1, and the same "
            "in /etc/sysctl.d; or run the executor as root"
        ),
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        (
            "AppArmor keeps ordinary users from using user namespaces: give the Python of the executor a profile with "
            "`userns,` (see /etc/apparmor.d), or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; or run the "
            "executor as root"
        ),
    ),
)
"""(file, value that forbids, what to do)."""

_CONTAINER: Final = (
    "in a container: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt "
    "systempaths=unconfined (podman: --security-opt seccomp=unconfined --security-opt unmask=ALL); the workers' own "
    "filters are stricter than the container's"
)


def _for_namespaces() -> str:
    for path, forbidding, remedy in _SWITCHES:
        if _read(path) == forbidding:
            return remedy
    return f"the kernel must allow user namespaces; {_CONTAINER}"


_REMEDIES: Final[dict[str, Callable[[], str]]] = {
    "user_namespace": _for_namespaces,
    "pid_namespace": _for_namespaces,
    "network_namespace": _for_namespaces,
    "uts_namespace": _for_namespaces,
    "cgroup_namespace": _for_namespaces,
    "ipc_namespace": _for_namespaces,
    "mount_namespace": lambda: f"Linux 5.12 or newer is needed, and a /proc that nothing is mounted over; {_CONTAINER}",
    "landlock": lambda: "Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK=y and `landlock` in the boot option lsm=",
    "seccomp": lambda: "a kernel with CONFIG_SECCOMP_FILTER=y on x86-64 or aarch64 is needed",
    "resource_limits": lambda: "raise the hard limits of the service (ulimit -H; LimitNOFILE= and the like in systemd)",
}


def find_remedy(layer: str) -> str:
    """Say what to do about a layer that is not there; nothing where there is nothing to be done."""
    remedy = _REMEDIES.get(layer)
    return remedy() if remedy is not None else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""

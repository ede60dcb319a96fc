"""The groups of one running supervisor: what both versions of control groups have in common."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Final, Literal

import structlog

from executor.isolation.cgroup_files import remove_tree
from executor.isolation.cgroup_group import ControlGroup

__all__ = ["ControlGroups"]

log = structlog.get_logger("executor.control_groups")

_CLOSE_PATIENCE_S: Final = 0.5


class ControlGroups(ABC):
    """The groups of one running supervisor.

    Attributes:
        version: Of the kernel's interface.
        controllers: What can be used, of `memory`, `pids`, `cpu` and `cpuacct`; the first two always.
        folders: Absolute, one in each hierarchy. When the supervisor is killed, whoever survives it removes them.
        swap_limited: Whether swap is kept from workers; where there is swap, and this is false, they can use it.
    """

    version: Literal["v1", "v2"]

    def __init__(self, *, controllers: Iterable[str], folders: tuple[str, ...], swap_limited: bool) -> None:
        self.controllers = frozenset(controllers)
        self.folders = folders
        self.swap_limited = swap_limited
        self._groups: weakref.WeakSet[ControlGroup] = weakref.WeakSet()

    @property
    def place(self) -> str:
        """Where the groups are, for people."""
        return ", ".join(self.folders)

    def create_group(self, name: str) -> ControlGroup:
        """Make the group of one slot, without limits.

        Args:
            name: A file name, unique among those of this instance.

        Raises:
            OSError: It exists already (EEXIST), or cannot be made. Then nothing of it is left.
            ValueError: The name is none for a file.
        """
        if not name or "/" in name or name.startswith("."):
            raise ValueError(f"not a name for a group: {name!r}")
        group = self._make_group(name)
        self._groups.add(group)
        return group

    def close(self) -> None:
        """Remove all groups, and kill what is left in them; it may be called again."""
        for group in list(self._groups):
            group.release()
        for folder in self.folders:
            if not remove_tree(folder, patience_s=_CLOSE_PATIENCE_S):
                log.error("control_groups.not_removed", folder=folder)

    @abstractmethod
    def _make_group(self, name: str) -> ControlGroup: ...

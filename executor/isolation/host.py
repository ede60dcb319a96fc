"""What this executor has of the host to isolate its workers with: host ids, control groups, and what is demanded."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Sequence
from typing import Final

import structlog

from executor.config.isolation import Isolation
from executor.isolation.control_groups import ControlGroup, ControlGroups, Unavailable, open_control_groups, sweep

__all__ = ["HostIsolation", "OutOfSlotsError"]

log = structlog.get_logger("executor.isolation")

MAX_BLOCKS: Final = 64
"""Executors of one host whose blocks of ids are told apart without being configured."""


class OutOfSlotsError(RuntimeError):
    """Every host id that was configured is in use."""


class HostIsolation:
    """The means of one executor. Everything is given back with `close`.

    Args:
        settings: The section `isolation` of the configuration.

    Attributes:
        required: Layers without which no worker runs.
        off: Layers that are switched off.
        groups: The control groups, or why there are none.
        first_id: First host id of the block that is ours, 0 when not running as root.
        ids: Ids in the block; 0 when not running as root.
    """

    def __init__(self, settings: Isolation) -> None:
        self.required: tuple[str, ...] = tuple(settings.require)
        self.off: tuple[str, ...] = tuple(settings.off)
        self.first_id, self.ids, self._block = _take_block(settings) if os.geteuid() == 0 else (0, 0, None)
        self.groups = _open_groups(self.off)
        self._numbers = threading.Lock()  # builds of environments take theirs in threads of their own
        self._next_number = 0
        self._free_numbers: list[int] = []

    @property
    def control_groups(self) -> ControlGroups | None:
        """The control groups, if there are any."""
        return None if isinstance(self.groups, Unavailable) else self.groups

    @property
    def group_folders(self) -> tuple[str, ...]:
        """Folders of control groups that are to be removed when the executor has ended."""
        groups = self.control_groups
        return groups.folders if groups is not None else ()

    def take_number(self) -> int:
        """Reserve a slot's number, and with it two host ids that no other slot has.

        Raises:
            OutOfSlotsError: All are in use.
        """
        with self._numbers:
            if self._free_numbers:
                return self._free_numbers.pop()
            number = self._next_number
            if self.ids and 2 * number + 2 >= self.ids:
                raise OutOfSlotsError(f"all {self.ids} host ids of isolation.ids are in use")
            self._next_number += 1
            return number

    def give_number(self, number: int) -> None:
        """Give a slot's number back, when no process of it is left."""
        with self._numbers:
            self._free_numbers.append(number)

    def create_group(self, name: str) -> ControlGroup | None:
        """Make the control group of a slot; None where there are no control groups.

        Raises:
            OSError: The kernel refused.
        """
        groups = self.control_groups
        return groups.create_group(name) if groups is not None else None

    def missing(self, report: dict[str, object]) -> Sequence[str]:
        """Name the required layers that a slot does not report to hold.

        Args:
            report: Of SLOT_READY: what was seen by layer, `{"holds": bool, "text": str}` each. Not trusted.
        """
        seen = {layer: entry for layer, entry in report.items() if isinstance(entry, dict)}
        return [layer for layer in self.required if seen.get(layer, {}).get("holds") is not True]

    def close(self) -> None:
        """Give everything back. No process of a slot is left by then."""
        if self._block is not None:
            self._block.close()
        groups = self.control_groups
        if groups is not None:
            with contextlib.suppress(OSError):
                groups.close()


def _open_groups(off: Sequence[str]) -> ControlGroups | Unavailable:
    if "control_groups" in off:
        return Unavailable(reason="switched off", remedy="take control_groups out of isolation.off")
    swept = sweep()
    if swept:
        log.warning("isolation.swept", control_groups=swept)
    return open_control_groups()


def _take_block(settings: Isolation) -> tuple[int, int, socket.socket | None]:
    """Choose a block of host ids that no other executor uses: the configured one, or the next one that is free.

    An abstract socket marks a block as taken; the kernel removes it with the process.
    """
    first, count = settings.ids.first, settings.ids.count
    for index in range(MAX_BLOCKS):
        begin = first + index * count
        if begin + count > 2**32 - 2:
            break
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            mark.bind(f"\0endpoint-executor/ids/{begin}")
        except OSError:
            mark.close()
            continue
        return begin, count, mark
    log.warning("isolation.ids_shared", first=first, count=count)
    return first, count, None

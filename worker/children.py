"""The processes below a zygote: who they are, how they end, and that none outlives the worker that made it.

Theory of operation
-------------------
Three kinds of processes become children of a zygote: those that it forks (workers, zygotes), which it *knows*, and
strangers, which arrive when their own parent ends. For a stranger the question is whose it is, because workers run side
by side and a stranger of a running worker would have to be left alone. The answer does not rest on sessions, groups or
the environment, all of which a daemon changes:

    Every worker is a subreaper itself, until it ends. What it makes, directly or through any number of double forks,
    comes back to it and not to the zygote. So a stranger that reaches the zygote has no living owner.

Hence the rule: a child that is not known is killed at once. (A worker could give up being a subreaper. All it gains is
that its daemons are killed earlier.) Strangers can only arrive when a child ends, so the list of children is looked at
whenever one was waited for; killed strangers may leave strangers behind, and the same happens to them.

The report of a worker's end waits until its strangers are gone too, at most LINGER_S seconds: a process that hangs in
the kernel cannot be waited for.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from os import WNOHANG, wait4
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from protocol import Exited
from worker.kernel import list_children

if TYPE_CHECKING:
    from resource import struct_rusage

__all__ = ["LINGER_S", "Children"]

LINGER_S: Final = 1.0
"""Longest time, in seconds, that the report of an exit waits for the killed processes that it left behind."""

PAUSE_S: Final = 0.002
"""Seconds between two looks, at the end, whether all are gone."""

KIB: Final = 1024


@dataclass(slots=True)
class _Ending:
    """A child that has ended, and whose report waits for what it left behind."""

    child_id: int
    pid: int
    status: int
    usage: struct_rusage
    deadline: float
    killed: int = 0

    def report(self) -> Exited:
        usage = self.usage
        return Exited(
            id=self.child_id,
            status=self.status,
            utime_s=usage.ru_utime,
            stime_s=usage.ru_stime,
            max_rss_bytes=usage.ru_maxrss * KIB,  # getrusage(2): kilobytes, of 1024
            minor_faults=usage.ru_minflt,
            major_faults=usage.ru_majflt,
            killed_descendants=self.killed,
        )


class Children:
    """Keeps account of a zygote's children and waits for them."""

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}
        self._ids: dict[int, int] = {}
        self._doomed: set[int] = set()
        self._endings: list[_Ending] = []

    def __contains__(self, child_id: int) -> bool:
        return child_id in self._pids

    def __len__(self) -> int:
        return len(self._pids)

    def add(self, child_id: int, pid: int) -> None:
        """Take account of a child that was just forked."""
        self._pids[child_id] = pid
        self._ids[pid] = child_id

    def kill(self, child_id: int) -> None:
        """Kill a child and its process group, if it has not been waited for yet."""
        pid = self._pids.get(child_id)
        if pid is not None:
            _kill(pid)

    def reap(self) -> list[Exited]:
        """Wait for all that have ended, kill what they left behind, and return the reports that are complete."""
        reaped = False
        while (pid := self._reap_one()) is not None:
            reaped = True
            self._doomed.discard(pid)
        if reaped:
            self._doom_strangers()
        return self._complete()

    def linger_s(self) -> float | None:
        """Return the seconds until a report is due although its strangers are not gone; None if none waits."""
        if not self._endings:
            return None
        return max(0.0, self._endings[0].deadline - monotonic())

    def kill_all(self, timeout_s: float) -> bool:
        """Kill and wait for every process below, as far as they come up.

        Returns:
            Whether all are gone. Otherwise the time was over.
        """
        deadline = monotonic() + timeout_s
        while monotonic() < deadline:
            for pid in list_children():
                _kill(pid)
            try:
                pid, _, _ = wait4(-1, WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                sleep(PAUSE_S)
        return False

    def _reap_one(self) -> int | None:
        try:
            pid, status, usage = wait4(-1, WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        child_id = self._ids.pop(pid, None)
        if child_id is not None:
            del self._pids[child_id]
            self._endings.append(_Ending(child_id, pid, status, usage, monotonic() + LINGER_S))
        return pid

    def _doom_strangers(self) -> None:
        for pid in list_children():
            if pid in self._ids or pid in self._doomed:
                continue
            self._doomed.add(pid)
            owner = self._owner(pid)
            if owner is not None:
                owner.killed += 1
            _kill(pid)

    def _owner(self, pid: int) -> _Ending | None:
        """Whom a stranger is counted for: the leader of its session, else the last one that ended."""
        if not self._endings:
            return None
        session = os.getsid(pid)
        return next((ending for ending in self._endings if ending.pid == session), self._endings[-1])

    def _complete(self) -> list[Exited]:
        now = monotonic()
        due = [ending for ending in self._endings if not self._doomed or ending.deadline <= now]
        self._endings = [ending for ending in self._endings if ending not in due]
        return [ending.report() for ending in due]


def _kill(pid: int) -> None:
    """Kill a child that has not been waited for, and the process group that it leads, if it leads one."""
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)

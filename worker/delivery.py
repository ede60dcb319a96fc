"""What a zygote knows of a process that is being born.

Whoever forks it, its midwife, is a child of the zygote and reports in a pipe: the number of who was born, or what has
failed. Most of a birth is hers, and the births of several slots go on side by side (`Deliveries`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import contextmanager
from os import close, read, set_blocking, waitpid
from select import POLLIN, poll
from signal import SIGKILL
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_REPORT", "BirthError", "Deliveries", "Delivery", "blame", "wait_readable"]

BIRTH_TIME_MS: Final = 10_000
"""Longest wait for a midwife, in milliseconds; she takes about two."""

MAX_REPORT: Final = 4096
"""Bytes of what a midwife says."""


class BirthError(Exception):
    """A process could not be born; the text begins with the layer of isolation that failed.

    Attributes:
        errno: Of the system call that failed, or 0.
    """

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


@contextmanager
def blame(name: str) -> Iterator[None]:
    """Name the layer of isolation that fails if anything in here does.

    Raises:
        BirthError: Something did.
    """
    try:
        yield
    except OSError as error:
        raise BirthError(f"{name}: {error.strerror or error}", error.errno or 0) from error


class Delivery:
    """A process that is being born: who forks it, and where she says what its number is.

    Args:
        midwife: Her process id; she is a child of this process.
        report: Where her report comes. Owned.

    Attributes:
        midwife: As above.
        report: As above.
        deadline: When her report is overdue, in seconds of the monotonic clock.
    """

    def __init__(self, midwife: int, report: int) -> None:
        self.midwife = midwife
        self.report = report
        self.deadline = monotonic() + BIRTH_TIME_MS / 1000

    def wait(self) -> int:
        """Wait for the report: the process id of who was born.

        Raises:
            BirthError: She had to report a failure, or said nothing; she is gone.
        """
        wait_readable(self.report)
        try:
            return self.read()
        except BirthError:
            self.dismiss()
            raise

    def read(self) -> int:
        """Read the report, which has come, or never will: the process id of who was born. Once.

        Raises:
            BirthError: She had to report a failure, or said nothing.
        """
        set_blocking(self.report, False)
        try:
            text = read(self.report, MAX_REPORT)
        except BlockingIOError:
            text = b""
        finally:
            self._close()
        if text.isdigit():
            return int(text)
        number, _, message = text.decode().partition(" ")
        raise BirthError(message or "pid_namespace: no answer", int(number or 0))

    def dismiss(self) -> None:
        """End the midwife, and wait for her."""
        self._close()
        os.kill(self.midwife, SIGKILL)
        waitpid(self.midwife, 0)

    def _close(self) -> None:
        if self.report >= 0:
            close(self.report)
            self.report = -1


class Deliveries:
    """Births that go on side by side, and who is told of their end.

    Args:
        watch: Has a function called when a descriptor can be read.
        forget: Ends that.
        delivered: Gets the identifier of a child and its process id.
        failed: Gets the identifier of one that was not born, and why not.
    """

    def __init__(
        self,
        watch: Callable[[int, Callable[[], None]], None],
        forget: Callable[[int], None],
        delivered: Callable[[int, int], None],
        failed: Callable[[int, BirthError], None],
    ) -> None:
        self._watch = watch
        self._forget = forget
        self._delivered = delivered
        self._failed = failed
        self._open: dict[int, Delivery] = {}

    def __contains__(self, child_id: object) -> bool:
        return child_id in self._open

    def __len__(self) -> int:
        return len(self._open)

    def left_ms(self) -> float | None:
        """Milliseconds until the next report is overdue; None where none is awaited."""
        if not self._open:
            return None
        return max(0.0, min(delivery.deadline for delivery in self._open.values()) - monotonic()) * 1000

    def add(self, child_id: int, delivery: Delivery) -> None:
        """Await one more report."""
        self._open[child_id] = delivery
        self._watch(delivery.report, lambda: self.finish(child_id))

    def finish(self, child_id: int, *, gone: bool = False) -> None:
        """Read a report that has come, or is not waited for any longer.

        Args:
            child_id: Whose.
            gone: Whether the midwife has ended, and was waited for.
        """
        delivery = self._open.pop(child_id)
        self._forget(delivery.report)
        try:
            pid = delivery.read()
        except BirthError as error:
            if not gone:
                delivery.dismiss()
            self._failed(child_id, error)
        else:
            self._delivered(child_id, pid)

    def on_ended(self, pid: int) -> None:
        """Take account of a child that has ended and was waited for: a midwife has reported all that she could."""
        for child_id, delivery in self._open.items():
            if delivery.midwife == pid:
                self.finish(child_id, gone=True)
                return

    def finish_overdue(self) -> None:
        """Give up births that take too long."""
        now = monotonic()
        for child_id in [child_id for child_id, delivery in self._open.items() if delivery.deadline <= now]:
            self.finish(child_id)

    def end_all(self) -> None:
        """End all births, and wait for the midwives."""
        for delivery in self._open.values():
            self._forget(delivery.report)
            delivery.dismiss()
        self._open.clear()


def wait_readable(descriptor: int) -> bool:
    """Wait until something can be read, as long as a midwife may take; whether it can."""
    poller = poll()
    poller.register(descriptor, POLLIN)
    return bool(poller.poll(BIRTH_TIME_MS))

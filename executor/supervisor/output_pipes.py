"""The supervisor's ends of a worker's descriptors 1 and 2."""

from __future__ import annotations

import os
from functools import partial
from typing import Final, Protocol

from executor.supervisor.output import Stream
from executor.supervisor.pipes import PIPE_SIZE, close_quietly
from executor.supervisor.readiness import Readiness

__all__ = ["OutputPipes", "OutputSink"]

FINAL_READS: Final = 16
"""Reads of each pipe after the worker's exit. Its capacity is PIPE_SIZE by default, a megabyte at most."""


class OutputSink(Protocol):
    """Where the output of a worker goes."""

    def feed(self, stream: Stream, data: bytes) -> None:
        """Bytes came from descriptor 1 or 2."""


class OutputPipes:
    """Hands on what a worker writes, as it comes.

    Args:
        stdout: Descriptor; owned.
        stderr: Descriptor; owned.
        readiness: Waits for both.
        sink: Takes the data.

    Attributes:
        sink: May be replaced.
    """

    __slots__ = ("_descriptors", "_readiness", "sink")

    def __init__(self, stdout: int, stderr: int, readiness: Readiness, sink: OutputSink) -> None:
        self._descriptors: tuple[tuple[Stream, int], ...] = (("stdout", stdout), ("stderr", stderr))
        self._readiness = readiness
        self.sink = sink
        for stream, descriptor in self._descriptors:
            readiness.watch(descriptor, partial(self._read, stream, descriptor))

    def read(self) -> None:
        """Take what there is."""
        for stream, descriptor in self._descriptors:
            for _ in range(FINAL_READS):
                if not self._read(stream, descriptor):
                    break

    def close(self) -> None:
        """Close both; what has not been read is lost. This may be called again."""
        for _, descriptor in self._descriptors:
            self._readiness.forget(descriptor)
        close_quietly([descriptor for _, descriptor in self._descriptors])
        self._descriptors = ()

    def _read(self, stream: Stream, descriptor: int) -> bool:
        """Read once; whether there may be more."""
        try:
            data = os.read(descriptor, PIPE_SIZE)
        except BlockingIOError:
            return False
        if not data:
            self._readiness.forget(descriptor)
            return False
        self.sink.feed(stream, data)
        return True

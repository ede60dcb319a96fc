"""What the zygote of an environment writes to descriptors 1 and 2, and those of its plugins: lines of our log, bounded.

Other zygotes run trusted code only and write to our own descriptor 2. This one imports what a plugin has chosen: that
must not be able to fill our log, nor to write lines that pass for ours.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from executor.supervisor.output import LogRecord, OutputLog
from executor.supervisor.pipes import PIPE_SIZE

__all__ = ["ZygoteOutput"]

log = structlog.get_logger("executor.runtime")

LIMIT_BYTES: Final = 64 * 1024
"""Output that is logged of one zygote; with `FLOOD_FACTOR` times as much it is ended."""

LINE_BYTES: Final = 2048


class ZygoteOutput:
    """A pipe, and what comes out of it.

    Args:
        owner: Whose zygote it is, `plugin` or `environment`, as its records have it.
        loop: The supervisor's event loop.
        flooded: Called once, when there is far too much.

    Attributes:
        write_fd: The zygote's end. The caller's.

    Raises:
        OSError: No descriptors left.
    """

    def __init__(self, owner: Mapping[str, str], loop: asyncio.AbstractEventLoop, flooded: Callable[[], None]) -> None:
        self._owner = owner
        self._loop = loop
        self._read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_fd, False)
        self._log = OutputLog(limit_bytes=LIMIT_BYTES, line_bytes=LINE_BYTES, emit=self._emit, flooded=flooded)
        loop.add_reader(self._read_fd, self._on_readable)

    def close(self) -> None:
        """Take what is there, and no more."""
        if self._read_fd >= 0:
            self._on_readable()
        self._close()

    def _close(self) -> None:
        if self._read_fd >= 0:
            self._loop.remove_reader(self._read_fd)
            os.close(self._read_fd)
            self._read_fd = -1
            self._log.close()

    def _on_readable(self) -> None:
        try:
            data = os.read(self._read_fd, PIPE_SIZE)
        except BlockingIOError:
            return
        if data:
            self._log.feed("stderr", data)
        else:
            self._close()

    def _emit(self, record: LogRecord) -> None:
        log.warning("zygote.output", **self._owner, message=record.message)

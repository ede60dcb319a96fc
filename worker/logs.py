"""Log output of endpoint code: `logging` goes to the supervisor as LOG messages, the rest to descriptors 1 and 2.

`print` and everything else that writes to the descriptors 1 and 2 is read there by the supervisor, line by line,
which also recognises the JSON lines of the Dify SDK's handler. So a record that such a handler has taken is not sent
a second time from here.
"""

from __future__ import annotations

import logging
import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final

from protocol import MAX_LOG_MESSAGE, MAX_LOGGER_NAME, Log, clip
from worker.kernel import flush_c_output
from worker.tracebacks import shorten

if TYPE_CHECKING:
    from worker.channel import Channel

__all__ = ["ChannelHandler", "flush_output", "prepare_output", "start_logging", "write_error"]

SDK_FORMATTER: Final = "DifyPluginLoggerFormatter"
"""Class of the formatter that the SDK's handler has, in every version of it and in our stand-in."""

STDERR: Final = 2


class ChannelHandler(logging.Handler):
    """Sends records to the supervisor.

    Args:
        channel: Where to.
    """

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; where the protocol allows no more of them, write it to descriptor 2."""
        try:
            if _taken_by_sdk(record):
                return
            message = shorten(self.format(record), MAX_LOG_MESSAGE)
            level = _level(record.levelno)
            if self._channel.ours:
                entry = Log(record.created, level, clip(record.name, MAX_LOGGER_NAME), message)
                if self._channel.send_log(entry):
                    return
            write_error(f"{level} {record.name}: {message}\n")
        except Exception:  # noqa: BLE001 - logging must not fail; this is what its own handlers do
            self.handleError(record)


def prepare_output() -> None:
    """Make the text streams on 1 and 2 line-buffered UTF-8 that can encode anything. Once, before any fork."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)


def start_logging(channel: Channel, level: int) -> None:
    """Send what is logged from a level on, unless the endpoint sets another one, to the supervisor."""
    root = logging.getLogger()
    root.setLevel(level)
    root.addHandler(ChannelHandler(channel))


def flush_output() -> None:
    """Write out what is buffered for descriptors 1 and 2, by Python or by C code."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except Exception:  # noqa: BLE001, S112 - the endpoint may have closed or replaced it
            continue
    flush_c_output()


def write_error(text: str) -> None:
    """Write a text to descriptor 2, if anybody reads it."""
    try:
        os.write(STDERR, text.encode(errors="backslashreplace"))
    except OSError:
        return


def _level(number: int) -> str:
    if number >= logging.ERROR:
        return "critical" if number >= logging.CRITICAL else "error"
    if number >= logging.INFO:
        return "warning" if number >= logging.WARNING else "info"
    return "debug"


def _taken_by_sdk(record: logging.LogRecord) -> bool:
    """Whether a handler of the SDK, on the way up to the root logger, prints this record."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        for handler in logger.handlers:
            if type(handler.formatter).__name__ == SDK_FORMATTER and record.levelno >= handler.level:
                return True
        logger = logger.parent if logger.propagate else None
    return False

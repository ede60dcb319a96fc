"""What an endpoint prints and logs, turned into records of its invocation, bounded.

Three sources, one list of records: `LOG` messages of the protocol (Python's `logging`), lines written to the
descriptors 1 and 2, and among those lines the JSON objects that the Dify SDK's log handler prints. Records are kept
up to the limit `log_output`; what comes after is counted and dropped. A worker that goes on for `FLOOD_FACTOR` times
the limit is not logging any more: its invocation is ended.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from protocol.messages import Log

__all__ = ["FLOOD_FACTOR", "LogRecord", "OutputLog", "Stream"]

Stream = Literal["stdout", "stderr"]

FLOOD_FACTOR: Final = 16
"""How many times the kept output may be produced before the worker is ended."""

RECORD_COST: Final = 128
"""Least cost of a record in bytes: many tiny records are as expensive for the executor as few large ones."""

LEVELS: Final = frozenset({"debug", "info", "warning", "error", "critical"})


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line of an endpoint's output.

    Attributes:
        time: When, in seconds since the epoch; as the worker says for `LOG` messages and SDK lines.
        level: `debug`, `info`, `warning`, `error` or `critical`.
        source: `stdout`, `stderr`, or the name of the logger.
        message: The text, at most the limit `log_line` long.
    """

    time: float
    level: str
    source: str
    message: str


class OutputLog:
    """Collects the output of one invocation.

    Args:
        limit_bytes: Output kept (`limits.log_output`).
        line_bytes: Longest line or message kept whole (`limits.log_line`).
        emit: Called with each record.
        flooded: Called once, when the worker has produced `FLOOD_FACTOR` times the limit.
    """

    def __init__(
        self,
        *,
        limit_bytes: int,
        line_bytes: int,
        emit: Callable[[LogRecord], None],
        flooded: Callable[[], None],
    ) -> None:
        self.records = 0
        self.dropped_bytes = 0
        self._limit = limit_bytes
        self._line = line_bytes
        self._emit = emit
        self._flooded = flooded
        self._cost = 0
        self._partial: dict[Stream, bytes] = {}

    @property
    def has_flooded(self) -> bool:
        """Whether the worker has produced `FLOOD_FACTOR` times the limit."""
        return self._cost >= self._limit * FLOOD_FACTOR

    def add_message(self, message: Log) -> None:
        """Take a `LOG` message."""
        size = len(message.message) + len(message.logger)
        if self._charge(size):
            self._record(message.time, message.level, message.logger, message.message)

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take bytes that the worker wrote to descriptor 1 or 2."""
        if self._cost >= self._limit:
            self._charge(len(data))
            return
        lines = (self._partial.pop(stream, b"") + data).split(b"\n")
        rest = lines.pop()
        for line in lines:
            self._add_line(stream, line)
        if len(rest) > self._line:
            self._add_line(stream, rest)
        elif rest:
            self._partial[stream] = rest

    def close(self) -> None:
        """Take what was written without a newline at the end, and say what was dropped."""
        for stream, rest in self._partial.items():
            self._add_line(stream, rest)
        self._partial.clear()
        if self.dropped_bytes:
            text = f"output over the limit: {self.dropped_bytes} bytes dropped (limits.log_output {self._limit} bytes)"
            self._emit(LogRecord(time.time(), "warning", "executor", text))

    def _add_line(self, stream: Stream, line: bytes) -> None:
        if not self._charge(len(line)):
            return
        sdk = _parse_sdk_line(line[: self._line]) if b'"event"' in line else None
        if sdk is not None:
            self._record(*sdk)
        else:
            level = "info" if stream == "stdout" else "warning"
            self._record(time.time(), level, stream, line.rstrip(b"\r").decode("utf-8", "backslashreplace"))

    def _record(self, when: float, level: str, source: str, message: str) -> None:
        self.records += 1
        if len(message) > self._line:
            cut = len(message) - self._line
            message = f"{message[: self._line]} ... ({cut} characters cut)"
        self._emit(LogRecord(when, level, source, message))

    def _charge(self, size: int) -> bool:
        """Count `size` bytes of output; whether they are to be kept."""
        keep = self._cost < self._limit
        before = self._cost
        self._cost += max(size, RECORD_COST)
        if not keep:
            self.dropped_bytes += size
        if before < self._limit * FLOOD_FACTOR <= self._cost:
            self._flooded()
        return keep


def _parse_sdk_line(line: bytes) -> tuple[float, str, str, str] | None:
    """Read a line of the SDK's `plugin_logger_handler`, `{"event": "log", "data": {...}}`; `None` for anything else."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or event.get("event") != "log" or not isinstance(event.get("data"), dict):
        return None
    data = event["data"]
    level = str(data.get("level", "info")).lower()
    when = data.get("timestamp")
    return (
        float(when) if isinstance(when, int | float) and abs(when) < 1e12 else time.time(),  # noqa: PLR2004 - year 33658
        level if level in LEVELS else "info",
        "sdk",
        str(data.get("message", "")),
    )

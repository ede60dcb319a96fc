"""The executor's own log: one JSON object per line on standard error, or lines for people.

Everything takes the same way out: events of this program (structlog) and records of libraries (the `logging`
of uvicorn, asyncio, warnings). Times are UTC. Settings and other secrets are never logged; uvicorn's access
log is off, because it tells the paths and queries of requests.
"""

from __future__ import annotations

import logging
import sys
from typing import Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["LogFormat", "LogLevel", "configure_logging"]

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

FIRST: Final = ("timestamp", "level", "logger", "event")
"""Names that begin every line of JSON."""

SILENT: Final = ("uvicorn.access",)
"""Loggers that would tell too much."""

TERSE: Final = ("alembic", "httpcore", "httpx")
"""Loggers that would tell of every request of ours, with its address, and of every step of a migration."""


class _Lines:
    """Writes lines. A log that cannot be written must not fail a request: such lines are lost."""

    __slots__ = ("_stream", "name")

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self.name = name

    def msg(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # the terminal has gone, or the stream is closed
            return

    debug = info = warning = error = critical = exception = msg


class _LibraryHandler(logging.StreamHandler[TextIO]):
    """Writes records of `logging`; errors of writing are passed over, as above."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is given
        if not isinstance(sys.exception(), OSError | ValueError):
            super().handleError(record)


def configure_logging(
    *, log_format: LogFormat = "auto", level: LogLevel = "info", stream: TextIO | None = None
) -> None:
    """Set up the log of this process; a second call replaces the first.

    Args:
        log_format: `json`, `console`, or `auto`: `console` on a terminal, `json` otherwise.
        level: Least severe level that is written.
        stream: Where to; standard error unless given. Borrowed.
    """
    target = stream or sys.stderr
    on_console = log_format == "console" or (log_format == "auto" and target.isatty())
    renderers = _console_renderers(colours=target.isatty()) if on_console else _json_renderers()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Lines(target, names[0] if names else "executor"),
        cache_logger_on_first_use=False,  # a reload may change the level
    )
    _route_libraries(_LibraryHandler(target), level, shared, renderers)


def _route_libraries(
    handler: logging.Handler, level: LogLevel, shared: list[Processor], renderers: list[Processor]
) -> None:
    """Have `logging` and warnings rendered like our own events."""
    clean = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[clean, *renderers]))
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, _LibraryHandler):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    for name in SILENT:
        logging.getLogger(name).disabled = True
    for name in TERSE:
        logging.getLogger(name).setLevel(logging.WARNING)


def _json_renderers() -> list[Processor]:
    # without local variables: they may hold settings
    transform = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(transform),
        _put_first,
        structlog.processors.JSONRenderer(default=repr),
    ]


def _console_renderers(*, colours: bool) -> list[Processor]:
    return [
        _escape_controls,
        structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback),
    ]


def _put_first(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    ordered = {name: event.pop(name) for name in FIRST}
    ordered.update(event)
    return ordered


def _escape_controls(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Keep what endpoints wrote from steering the operator's terminal."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = "".join(char if char.isprintable() else repr(char)[1:-1] for char in value)
    return event

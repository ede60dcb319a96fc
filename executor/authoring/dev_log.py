"""What happens in a service, told to an author: events of this program and of libraries, one line each.

Requests have lines of their own (`request_lines`), and so has a reload (`dev_server`); what only operators need is
left out.
"""

from __future__ import annotations

import logging
from typing import Final

import structlog
from structlog.typing import EventDict, WrappedLogger

from executor.authoring.printing import Printer
from executor.authoring.request_lines import RequestLines

__all__ = ["DevLog"]

TOLD_OTHERWISE: Final = frozenset({"service.reload_refused", "plugin.warning", "config.note"})
KEPT_BACK: Final = frozenset({"level", "logger", "event", "exc_info", "stack_info"})
STYLES: Final = {"warning": "yellow", "error": "bold red", "critical": "bold red"}


class DevLog:
    """Takes the log of this process.

    Args:
        printer: Where what is worth telling goes.
        lines: Takes what belongs to a request.
    """

    def __init__(self, printer: Printer, lines: RequestLines) -> None:
        self._printer = printer
        self._lines = lines

    def install(self) -> None:
        """Take the log from now on."""
        structlog.configure(
            processors=[structlog.stdlib.add_log_level, self._take],
            wrapper_class=structlog.make_filtering_bound_logger("debug"),
            cache_logger_on_first_use=False,
        )
        root = logging.getLogger()
        root.addHandler(_Libraries(self._printer))
        root.setLevel("WARNING")
        logging.captureWarnings(capture=True)

    def _take(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        name, level = str(event.get("event")), str(event["level"])
        if name == "endpoint.output":
            self._take_output(event)
        elif name == "environment.build":
            self._printer.line((f"  {event['detail']}", "dim"))
        elif level in STYLES and name not in TOLD_OTHERWISE:
            told = ", ".join(f"{key} {value}" for key, value in event.items() if key not in KEPT_BACK and value)
            failure = event.get("exc_info")
            if isinstance(failure, BaseException):
                told += f" {failure!r}"
            self._printer.line((f"{level}: ", STYLES[level]), f"{name}: {told}" if told else name)
        raise structlog.DropEvent

    def _take_output(self, event: EventDict) -> None:
        invocation_id, source, message = str(event["invocation_id"]), str(event["source"]), str(event["message"])
        if source == "traceback":
            self._lines.keep_traceback(invocation_id, message)
        else:
            self._printer.output(event["level"], f"{self._lines.mark(invocation_id)}{source}", message)


class _Libraries(logging.Handler):
    """Prints warnings of libraries."""

    def __init__(self, printer: Printer) -> None:
        super().__init__(logging.WARNING)
        self._printer = printer

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        self._printer.line((f"{record.levelname.lower()}: ", "yellow"), f"{record.name}: {record.getMessage()}")

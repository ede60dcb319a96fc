"""The log handler that plugins attach to their loggers: one JSON object per line on standard output."""

from __future__ import annotations

import json
import logging
import sys
from typing import Final

__all__ = ["DifyPluginLoggerFormatter", "plugin_logger_handler"]


class DifyPluginLoggerFormatter(logging.Formatter):
    """Formats a record as `{"event": "log", "data": {"level", "message", "timestamp"}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end. Unlike in the SDK, the traceback is part of the message."""
        message = super().format(record)
        data = {"level": record.levelname, "message": message, "timestamp": record.created}
        return json.dumps({"event": "log", "data": data})


plugin_logger_handler: Final = logging.StreamHandler(sys.stdout)
plugin_logger_handler.setLevel(logging.INFO)
plugin_logger_handler.setFormatter(DifyPluginLoggerFormatter())

"""Times for people."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["show_time"]


def show_time(seconds: float) -> str:
    """Show a time, in Unix seconds, in the zone of this machine, to the second."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")

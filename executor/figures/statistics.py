"""Running statistics of one hook, or of all: totals, and percentiles over the last invocations."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Final

from executor.figures.figures import Figures

__all__ = ["WINDOW", "Statistics", "percentile"]

WINDOW: Final = 1024
"""Durations kept for the percentiles: 8 KiB per hook, enough for a p99 made of ten values."""


def percentile(ordered: Sequence[float], share: float) -> float:
    """Find the nearest-rank percentile: the smallest value that at least `share` of all values do not exceed.

    Args:
        ordered: Values in ascending order; at least one.
        share: 0..1.
    """
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


class Statistics:
    """Counts invocations.

    Written by the event loop and read by another thread: every step of `add` leaves it readable.
    """

    def __init__(self) -> None:
        self._count = 0
        self._measured = 0
        self._outcomes: dict[str, int] = {}
        self._durations = array("d")
        self._cpu_s = 0.0
        self._max_rss_bytes = 0
        self._bytes_in = 0
        self._bytes_out = 0

    def add(self, figures: Figures) -> None:
        """Count one invocation."""
        code = figures.outcome.code
        self._outcomes[code] = self._outcomes.get(code, 0) + 1
        if len(self._durations) < WINDOW:
            self._durations.append(figures.duration_s)
        else:
            self._durations[self._count % WINDOW] = figures.duration_s
        self._count += 1
        if figures.max_rss_bytes:
            self._measured += 1
            self._cpu_s += figures.cpu_user_s + figures.cpu_system_s
            self._max_rss_bytes = max(self._max_rss_bytes, figures.max_rss_bytes)
        self._bytes_in += figures.bytes_in
        self._bytes_out += figures.bytes_out

    def as_dict(self) -> dict[str, object]:
        """Show the statistics as plain data for JSON; `None` where there is nothing to tell."""
        ordered = sorted(self._durations[:])
        return {
            "invocations": self._count,
            "outcomes": dict(sorted(self._outcomes.copy().items())),
            "duration_s": {
                "samples": len(ordered),
                "p50": percentile(ordered, 0.50) if ordered else None,
                "p95": percentile(ordered, 0.95) if ordered else None,
                "p99": percentile(ordered, 0.99) if ordered else None,
                "max": ordered[-1] if ordered else None,
            },
            "cpu_s": {"mean": self._cpu_s / self._measured if self._measured else None, "total": self._cpu_s},
            "max_rss_bytes": self._max_rss_bytes or None,
            "bytes_in": self._bytes_in,
            "bytes_out": self._bytes_out,
        }

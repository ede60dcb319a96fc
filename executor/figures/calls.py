"""What is measured of reverse calls.

Kinds are those of a closed list, and `unknown` for all others, so that no plugin makes up series.
"""

from __future__ import annotations

from typing import Final, final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["CallFigures"]

TIME_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds, to the default of `limits.call_time`."""


@final
class CallFigures:
    """The metrics of reverse calls.

    Args:
        registry: Shows them.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        text = "Reverse calls that ended: ok, failed, refused, timeout, cancelled, broken."
        self._calls = Counter("executor_reverse_calls", text, ("kind", "outcome"), registry=registry)
        text = "From the beginning of a reverse call to the end of its answer."
        self._seconds = Histogram(
            "executor_reverse_call_duration_seconds", text, ("kind",), buckets=TIME_BUCKETS, registry=registry
        )
        self._going_on = Gauge("executor_reverse_calls_in_flight", "Reverse calls that go on.", registry=registry)

    def begin(self, kind: str) -> None:
        """Count a call that begins; `finish` follows, with the same kind."""
        del kind
        self._going_on.inc()

    def finish(self, kind: str, outcome: str, seconds: float) -> None:
        """Count a call that has ended; a refused one had not begun."""
        self._calls.labels(kind, outcome).inc()
        if outcome != "refused":
            self._going_on.dec()
            self._seconds.labels(kind).observe(seconds)

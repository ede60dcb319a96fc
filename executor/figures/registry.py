"""Where every finished invocation is recorded: metrics, statistics and one line of the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog
from prometheus_client.exposition import choose_encoder

from executor.figures.calls import CallFigures
from executor.figures.figures import Figures
from executor.figures.instruments import HookInstruments, Instruments
from executor.figures.live import Snapshot
from executor.figures.statistics import Statistics
from executor.version import __version__

__all__ = ["MAX_HOOKS", "OTHER", "Registry"]

MAX_HOOKS: Final = 200
"""Hooks with figures of their own; a hook costs some 150 series in `/metrics`."""

OTHER: Final = "other"
"""What the remaining hooks, and ids that are no hook's, are counted as."""

log = structlog.get_logger("executor.invocation")


class Registry:
    """Records invocations. Used from the event loop; `render_metrics` and `statistics` may run in a thread.

    Args:
        clock: Monotonic seconds.

    Attributes:
        calls: Counts reverse calls.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._started_at = time.time()
        self._instruments = Instruments()
        self.calls = CallFigures(self._instruments.registry)
        self._hooks: dict[str, tuple[HookInstruments, Statistics]] = {}
        self._other = self._make(OTHER)
        self._total = Statistics()
        self._closed = False

    def expect_hooks(self, hook_ids: Iterable[str]) -> None:
        """Name the hooks that exist; from now on every other id is counted as `other`.

        Call it after each load of the configuration. Without it, the first `MAX_HOOKS` ids that are recorded
        count as hooks, whoever made them up.
        """
        self._closed = True
        for hook_id in hook_ids:
            self._add(hook_id)

    def forget_hooks(self, hook_ids: Iterable[str]) -> None:
        """Let go of the figures of hooks that are no more, so that others have room; totals stay as they are."""
        for hook_id in hook_ids:
            if self._hooks.pop(hook_id, None) is not None:
                self._instruments.forget(hook_id)

    def record(self, figures: Figures) -> None:
        """Record one finished invocation: some 30 microseconds, most of them for the log line."""
        entry = self._hooks.get(figures.hook_id)
        if entry is None:
            entry = self._other if self._closed else self._add(figures.hook_id)
        instruments, statistics = entry
        instruments.observe(figures)
        statistics.add(figures)
        self._total.add(figures)
        log.info("invocation", **_as_event(figures))

    def observe_service(self, snapshot: Snapshot) -> None:
        """Set the gauges to what is true now."""
        self._instruments.observe_service(snapshot)

    def observe_isolation(self, layers: Mapping[str, bool]) -> None:
        """Set the gauges of the layers of isolation: whether each holds for workers."""
        self._instruments.observe_isolation(layers)

    def observe_store(self, usable: bool) -> None:  # noqa: FBT001 - the one thing that is told
        """Set the gauge of the store: whether it could be used just now."""
        self._instruments.observe_store(usable)

    def render_metrics(self, accept: str) -> tuple[bytes, str]:
        """Write all metrics.

        Args:
            accept: The `Accept` header of the request: OpenMetrics where it asks for that.

        Returns:
            (body, content type).
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._instruments.registry), content_type

    def statistics(self) -> dict[str, object]:
        """Show the statistics of all hooks as plain data for JSON."""
        hooks = {hook_id: entry[1].as_dict() for hook_id, entry in sorted(self._hooks.copy().items())}
        other = self._other[1].as_dict()
        if other["invocations"]:
            hooks[OTHER] = other
        return {
            "version": __version__,
            "started_at": self._started_at,
            "uptime_s": self._clock() - self._started,
            "totals": self._total.as_dict(),
            "hooks": hooks,
        }

    def _add(self, hook_id: str) -> tuple[HookInstruments, Statistics]:
        entry = self._hooks.get(hook_id)
        if entry is not None:
            return entry
        if hook_id == OTHER or len(self._hooks) >= MAX_HOOKS:
            return self._other
        entry = self._hooks[hook_id] = self._make(hook_id)
        return entry

    def _make(self, label: str) -> tuple[HookInstruments, Statistics]:
        return self._instruments.hook(label), Statistics()


def _as_event(figures: Figures) -> dict[str, object]:
    """Name the figures for the log, with their units."""
    return {
        "invocation_id": figures.invocation_id,
        "hook_id": figures.hook_id,
        "plugin": figures.plugin,
        "method": figures.method,
        "rule": figures.rule,
        "outcome": figures.outcome.code,
        "status": figures.status,
        "started_at": round(figures.started_at, 6),
        "queue_s": round(figures.queue_s, 6),
        "ready_s": _rounded(figures.ready_s),
        "spare": figures.spare,
        "reused": figures.reused,
        "slot_s": _rounded(figures.start.slot_s) if figures.start else None,
        "fork_s": _rounded(figures.start.fork_s) if figures.start else None,
        "load_s": _rounded(figures.start.load_s) if figures.start else None,
        "first_byte_s": _rounded(figures.first_byte_s),
        "duration_s": round(figures.duration_s, 6),
        "after_s": _rounded(figures.after_s),
        "after_end": figures.after_end,
        "cpu_user_s": round(figures.cpu_user_s, 6),
        "cpu_system_s": round(figures.cpu_system_s, 6),
        "max_rss_bytes": figures.max_rss_bytes,
        "memory_peak_bytes": figures.memory_peak_bytes,
        "minor_faults": figures.minor_faults,
        "major_faults": figures.major_faults,
        "bytes_in": figures.bytes_in,
        "bytes_out": figures.bytes_out,
        "pid": figures.pid,
        "exit": figures.exit,
        "log_records": figures.log_records,
        "log_dropped_bytes": figures.log_dropped_bytes,
        "detail": figures.detail,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)

"""The metrics of Prometheus: their names, labels and buckets.

A registry of its own, not the library's global one. Nothing but a hook's id, an outcome and words of this
program become labels, and the hooks are bounded by `executor.figures.registry`. The children of the labels
are looked up once per hook, because one set of them is updated for every request.

Source: Prometheus, "Metric and label naming" and "Histograms and summaries".
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase

from executor.figures.figures import Figures, StartTimes
from executor.figures.live import Snapshot
from executor.outcome import Outcome
from executor.version import __version__

__all__ = ["CPU_BUCKETS", "MEMORY_BUCKETS", "TIME_BUCKETS", "HookInstruments", "Instruments"]

MIB: Final = 1024**2
TIME_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
"""Seconds, from a millisecond to the default of `limits.wall_time`."""
CPU_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 600.0)
MEMORY_BUCKETS: Final = tuple(float(n * MIB) for n in (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096))


class Instruments:
    """Every metric of the executor.

    Attributes:
        registry: What `/metrics` shows.
    """

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # not annotated there
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._make_invocation_metrics()
        self._make_service_metrics()

    def hook(self, label: str) -> HookInstruments:
        """Look the metrics of one hook up, once."""
        return HookInstruments(self, label)

    def forget(self, label: str) -> None:
        """Drop the series of one hook."""
        for metric in self._by_hook:
            metric.remove_by_labels({"hook": label})

    def observe_service(self, snapshot: Snapshot) -> None:
        """Set the gauges to what is true now."""
        self._workers.set(len(snapshot.workers))
        for state, count in snapshot.slots.items():
            self._slots.labels(state).set(count)
        self._queued.set(snapshot.queued)
        self._ready.set(snapshot.ready)
        self._draining.set(snapshot.draining)

    def observe_isolation(self, layers: Mapping[str, bool]) -> None:
        """Set the gauges of the layers of isolation."""
        for layer, holds in layers.items():
            self._layers.labels(layer).set(holds)

    def observe_store(self, usable: bool) -> None:  # noqa: FBT001 - the one thing that is told
        """Set the gauge of the store."""
        self._store.set(usable)

    def _make_invocation_metrics(self) -> None:
        by_hook = ("hook",)
        self.invocations = self._counter("executor_invocations", "Invocations that ended.", ("hook", "outcome"))
        self.duration = self._times("duration", "From the request head to the end of the invocation.", by_hook)
        self.queue = self._times("queue", "Wait for admission.", by_hook)
        self.ready = self._times("ready", "From admission to a ready worker.", by_hook)
        self.workers = self._counter(
            "executor_workers_taken",
            "Workers that requests were given: a spare one, one that was forked for it, or one used again.",
            ("hook", "origin"),
        )
        about = "Phases of the start of workers that requests were given: slot (where none was idle), fork, load."
        self.start = Histogram(
            "executor_worker_start_seconds", about, ("phase",), buckets=TIME_BUCKETS, registry=self.registry
        )
        self.first_byte = self._times("first_byte", "From the request head to the first byte.", by_hook)
        about = "How long workers went on after a whole answer, by what ended that: finished, time, or an outcome."
        self.after = self._times("after_response", about, ("hook", "end"))
        self.cpu = self._times("cpu", "CPU time of the worker.", ("hook", "mode"), CPU_BUCKETS)
        self.max_rss = Histogram(
            "executor_invocation_max_rss_bytes",
            "Peak resident set of the worker.",
            by_hook,
            buckets=MEMORY_BUCKETS,
            registry=self.registry,
        )
        name = "executor_invocation_page_faults"
        self.page_faults = self._counter(name, "Page faults of workers.", ("hook", "kind"))
        self.bytes_in = self._counter("executor_request_body_bytes", "Bytes of request bodies read.", by_hook)
        self.bytes_out = self._counter("executor_response_body_bytes", "Bytes of response bodies sent.", by_hook)
        self.log_dropped = self._counter("executor_log_dropped_bytes", "Log output over the limit.", by_hook)
        self._by_hook: tuple[MetricWrapperBase, ...] = (
            self.invocations,
            self.duration,
            self.queue,
            self.ready,
            self.workers,
            self.first_byte,
            self.after,
            self.cpu,
            self.max_rss,
            self.page_faults,
            self.bytes_in,
            self.bytes_out,
            self.log_dropped,
        )

    def _make_service_metrics(self) -> None:
        self._workers = self._gauge("executor_workers_live", "Worker processes.")
        about = "Slots, places for one worker at a time: idle, spare or kept (with a worker that waits), or busy."
        self._slots = Gauge("executor_slots", about, ("state",), registry=self.registry)
        self._queued = self._gauge("executor_queue_length", "Requests that wait for admission.")
        self._ready = self._gauge("executor_ready", "1 when new requests can be served.")
        self._draining = self._gauge("executor_draining", "1 when the executor is shutting down.")
        about = "1 when the layer of isolation holds for workers, 0 when it is off or missing."
        self._layers = Gauge("executor_isolation_layer", about, ("layer",), registry=self.registry)
        self._store = self._gauge(
            "executor_store_up", "1 when the store could be used the last time, a minute ago at most."
        )
        build = Gauge("executor_build_info", "Always 1.", ("version", "python"), registry=self.registry)
        build.labels(__version__, platform.python_version()).set(1)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def _times(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...] = TIME_BUCKETS
    ) -> Histogram:
        full = f"executor_invocation_{name}_seconds"
        return Histogram(full, text, labels, buckets=buckets, registry=self.registry)


class HookInstruments:
    """The metrics of one hook, with their labels bound.

    Args:
        instruments: All metrics.
        label: Value of the label `hook`.
    """

    def __init__(self, instruments: Instruments, label: str) -> None:
        self._label = label
        self._invocations = instruments.invocations
        self._outcomes: dict[Outcome, Counter] = {}
        self._after = instruments.after
        self._duration = instruments.duration.labels(label)
        self._queue = instruments.queue.labels(label)
        self._ready = instruments.ready.labels(label)
        self._spare = instruments.workers.labels(label, "spare")
        self._reused = instruments.workers.labels(label, "reused")
        self._forked = instruments.workers.labels(label, "fork")
        self._start = {phase: instruments.start.labels(phase) for phase in ("slot", "fork", "load")}
        self._first_byte = instruments.first_byte.labels(label)
        self._cpu_user = instruments.cpu.labels(label, "user")
        self._cpu_system = instruments.cpu.labels(label, "system")
        self._max_rss = instruments.max_rss.labels(label)
        self._minor = instruments.page_faults.labels(label, "minor")
        self._major = instruments.page_faults.labels(label, "major")
        self._bytes_in = instruments.bytes_in.labels(label)
        self._bytes_out = instruments.bytes_out.labels(label)
        self._log_dropped = instruments.log_dropped.labels(label)

    def observe(self, figures: Figures) -> None:
        """Count one invocation. What was not measured, because no worker ran, is left out."""
        outcome = self._outcomes.get(figures.outcome)
        if outcome is None:
            outcome = self._outcomes[figures.outcome] = self._invocations.labels(self._label, figures.outcome.code)
        outcome.inc()
        self._duration.observe(figures.duration_s)
        self._queue.observe(figures.queue_s)
        if figures.ready_s is not None:
            self._ready.observe(figures.ready_s)
        self._observe_worker(figures)
        if figures.first_byte_s is not None:
            self._first_byte.observe(figures.first_byte_s)
        if figures.after_s is not None:
            self._after.labels(self._label, figures.after_end).observe(figures.after_s)
        if figures.max_rss_bytes:
            self._observe_process(figures)
        if figures.bytes_in:
            self._bytes_in.inc(figures.bytes_in)
        if figures.bytes_out:
            self._bytes_out.inc(figures.bytes_out)
        if figures.log_dropped_bytes:
            self._log_dropped.inc(figures.log_dropped_bytes)

    def _observe_worker(self, figures: Figures) -> None:
        if figures.reused:
            self._reused.inc()
        elif figures.start is not None:
            self._observe_start(figures.start, spare=figures.spare is True)

    def _observe_start(self, start: StartTimes, *, spare: bool) -> None:
        (self._spare if spare else self._forked).inc()
        if start.slot_s is not None:
            self._start["slot"].observe(start.slot_s)
        self._start["fork"].observe(start.fork_s)
        self._start["load"].observe(start.load_s)

    def _observe_process(self, figures: Figures) -> None:
        self._cpu_user.observe(figures.cpu_user_s)
        self._cpu_system.observe(figures.cpu_system_s)
        self._max_rss.observe(figures.max_rss_bytes)
        self._minor.inc(figures.minor_faults)
        self._major.inc(figures.major_faults)

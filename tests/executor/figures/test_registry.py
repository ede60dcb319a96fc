"""Recording invocations: metrics that Prometheus can read, with bounded labels, and one line of the log."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from executor.figures.figures import Figures, StartTimes
from executor.figures.instruments import CPU_BUCKETS, MEMORY_BUCKETS, TIME_BUCKETS
from executor.figures.registry import MAX_HOOKS, OTHER, Registry
from executor.outcome import Outcome
from tests.executor.figures.support import IDLE, figures, worker

Events = list[Any]


@pytest.fixture
def events() -> Iterator[Events]:
    """What is logged."""
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
def registry(events: Events) -> Registry:
    """A registry whose log goes nowhere."""
    return Registry()


def samples(registry: Registry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples of `/metrics`, parsed back."""
    text = registry.render_metrics("")[0].decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(registry: Registry, name: str, **labels: str) -> float | None:
    """One sample."""
    return samples(registry).get((name, frozenset(labels.items())))


def test_an_invocation_is_counted_in_every_metric(registry: Registry) -> None:
    """With the units in the names."""
    registry.record(figures())
    registry.record(figures())
    expected = {
        "executor_invocation_duration_seconds_sum": 0.04,
        "executor_invocation_duration_seconds_count": 2,
        "executor_invocation_queue_seconds_sum": 0.002,
        "executor_invocation_ready_seconds_sum": 0.006,
        "executor_invocation_first_byte_seconds_sum": 0.02,
        "executor_invocation_max_rss_bytes_sum": 64 * 1024**2,
        "executor_request_body_bytes_total": 200,
        "executor_response_body_bytes_total": 2000,
        "executor_log_dropped_bytes_total": 14,
    }
    for name, expected_value in expected.items():
        assert value(registry, name, hook="cat") == pytest.approx(expected_value), name
    assert value(registry, "executor_invocations_total", hook="cat", outcome="ok") == 2
    assert value(registry, "executor_invocation_cpu_seconds_sum", hook="cat", mode="user") == 0.5
    assert value(registry, "executor_invocation_cpu_seconds_sum", hook="cat", mode="system") == 0.25
    assert value(registry, "executor_invocation_page_faults_total", hook="cat", kind="minor") == 600
    assert value(registry, "executor_invocation_page_faults_total", hook="cat", kind="major") == 4
    assert value(registry, "executor_workers_taken_total", hook="cat", origin="spare") == 2
    assert value(registry, "executor_workers_taken_total", hook="cat", origin="fork") == 0
    for phase, seconds in {"slot": 1.0, "fork": 0.008, "load": 0.004}.items():
        assert value(registry, "executor_worker_start_seconds_sum", phase=phase) == pytest.approx(seconds)


def test_a_forked_worker_in_an_idle_slot(registry: Registry) -> None:
    """It is no spare one, and no slot was made for it."""
    registry.record(figures(spare=False, start=StartTimes(slot_s=None, fork_s=0.004, load_s=0.002)))
    assert value(registry, "executor_workers_taken_total", hook="cat", origin="spare") == 0
    assert value(registry, "executor_workers_taken_total", hook="cat", origin="fork") == 1
    assert value(registry, "executor_worker_start_seconds_count", phase="slot") == 0
    assert value(registry, "executor_worker_start_seconds_count", phase="fork") == 1


def test_what_was_not_measured_is_not_counted(registry: Registry) -> None:
    """A request that was turned away had no worker: it must not pull the mean of CPU or memory down."""
    registry.record(
        figures(
            outcome=Outcome.QUEUE_FULL,
            ready_s=None,
            first_byte_s=None,
            max_rss_bytes=0,
            cpu_user_s=0.0,
            cpu_system_s=0.0,
            pid=None,
            exit=None,
            spare=None,
            start=None,
        )
    )
    assert value(registry, "executor_invocations_total", hook="cat", outcome="queue.full") == 1
    assert value(registry, "executor_workers_taken_total", hook="cat", origin="fork") == 0
    assert value(registry, "executor_worker_start_seconds_count", phase="fork") == 0
    assert value(registry, "executor_invocation_duration_seconds_count", hook="cat") == 1
    for name in ("ready_seconds", "first_byte_seconds", "max_rss_bytes"):
        assert value(registry, f"executor_invocation_{name}_count", hook="cat") == 0
    assert value(registry, "executor_invocation_cpu_seconds_count", hook="cat", mode="user") == 0


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_its_label(registry: Registry, outcome: Outcome) -> None:
    """The stable code."""
    registry.record(figures(outcome=outcome))
    assert value(registry, "executor_invocations_total", hook="cat", outcome=outcome.code) == 1


def test_the_gauges_show_the_moment(registry: Registry) -> None:
    """Whatever they showed before."""
    registry.observe_service(
        dataclasses.replace(
            IDLE, workers=(worker(), worker(pid=2)), slots={"idle": 3, "busy": 2}, queued=5, draining=True
        )
    )
    assert value(registry, "executor_workers_live") == 2
    assert value(registry, "executor_slots", state="idle") == 3
    assert value(registry, "executor_slots", state="busy") == 2
    assert value(registry, "executor_queue_length") == 5
    assert value(registry, "executor_ready") == 1
    assert value(registry, "executor_draining") == 1
    registry.observe_service(dataclasses.replace(IDLE, ready=False))
    assert value(registry, "executor_workers_live") == 0
    assert value(registry, "executor_ready") == 0


def test_the_supervisor_and_the_build_are_described(registry: Registry) -> None:
    """By the usual names."""
    names = {name for name, _ in samples(registry)}
    assert {"process_resident_memory_bytes", "process_open_fds", "executor_build_info"} <= names


def test_metrics_can_be_had_as_openmetrics(registry: Registry) -> None:
    """For those that ask for it."""
    body, content_type = registry.render_metrics("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_hooks_are_bounded(registry: Registry) -> None:
    """Beyond the bound, everything is counted as one."""
    for number in range(MAX_HOOKS + 50):
        registry.record(figures(hook_id=f"hook-{number}"))
    hooks = {dict(labels).get("hook") for _, labels in samples(registry)} - {None}
    assert len(hooks) == MAX_HOOKS + 1
    assert value(registry, "executor_invocations_total", hook=OTHER, outcome="ok") == 50
    statistics: Any = registry.statistics()
    assert len(statistics["hooks"]) == MAX_HOOKS + 1
    assert statistics["hooks"][OTHER]["invocations"] == 50
    assert statistics["totals"]["invocations"] == MAX_HOOKS + 50


def test_made_up_hooks_take_no_place(registry: Registry) -> None:
    """Once the hooks are known, ids from outside are all counted as one; a reload may add hooks."""
    registry.expect_hooks(["cat"])
    for number in range(1000):
        registry.record(figures(hook_id=f"guess-{number}", outcome=Outcome.ENDPOINT_RAISED))
    registry.record(figures())
    assert value(registry, "executor_invocations_total", hook="cat", outcome="ok") == 1
    assert value(registry, "executor_invocations_total", hook=OTHER, outcome="endpoint.raised") == 1000
    registry.expect_hooks(["cat", "dog"])
    registry.record(figures(hook_id="dog"))
    assert value(registry, "executor_invocations_total", hook="dog", outcome="ok") == 1
    assert value(registry, "executor_invocations_total", hook="cat", outcome="ok") == 1


def test_hooks_that_are_no_more_make_room(registry: Registry) -> None:
    """Their series and statistics go, and a new hook has its own again; what was counted in all stays."""
    before = [f"hook-{number}" for number in range(MAX_HOOKS)]
    registry.expect_hooks(before)
    for hook_id in (*before, "new"):
        registry.record(figures(hook_id=hook_id))
    assert value(registry, "executor_invocations_total", hook=OTHER, outcome="ok") == 1

    registry.forget_hooks([*before[:10], "never seen"])
    registry.expect_hooks([*before[10:], "new"])
    registry.record(figures(hook_id="new"))
    registry.record(figures(hook_id=before[0]))
    hooks = {dict(labels).get("hook") for _, labels in samples(registry)} - {None}
    assert hooks == {*before[10:], "new", OTHER}
    assert value(registry, "executor_invocations_total", hook="new", outcome="ok") == 1
    assert value(registry, "executor_invocations_total", hook=OTHER, outcome="ok") == 2
    statistics: Any = registry.statistics()
    assert before[0] not in statistics["hooks"]
    assert statistics["totals"]["invocations"] == MAX_HOOKS + 3


def test_a_hook_that_is_called_other_is_just_one_of_them(registry: Registry) -> None:
    """It cannot be told apart, but nothing breaks."""
    registry.expect_hooks([OTHER, "cat"])
    registry.record(figures(hook_id=OTHER))
    registry.record(figures(hook_id="unknown"))
    assert value(registry, "executor_invocations_total", hook=OTHER, outcome="ok") == 2


def test_labels_are_ids_and_words_only(registry: Registry) -> None:
    """Never paths, plugins, processes or invocations."""
    registry.record(figures())
    names = {name for _, labels in samples(registry) for name, _ in labels}
    assert names == {"hook", "outcome", "mode", "kind", "origin", "phase", "le", "version", "python"}


@pytest.mark.parametrize("buckets", [TIME_BUCKETS, CPU_BUCKETS, MEMORY_BUCKETS])
def test_buckets_ascend(buckets: tuple[float, ...]) -> None:
    """Each larger than the one before."""
    assert all(one < other for one, other in pairwise(buckets))


def test_one_event_tells_every_figure(registry: Registry, events: Events) -> None:
    """With the unit in the name of each."""
    registry.record(figures(ready_s=None, detail="it broke"))
    (event,) = events
    names = {field.name for kind in (Figures, StartTimes) for field in dataclasses.fields(kind)} - {"start"}
    assert names <= set(event)
    assert event["event"] == "invocation"
    assert event["log_level"] == "info"
    assert event["outcome"] == "ok"
    assert event["ready_s"] is None
    assert event["first_byte_s"] == 0.01
    assert event["detail"] == "it broke"


def test_every_metric_is_documented(registry: Registry) -> None:
    """And nothing is documented that there is not."""
    registry.record(figures())
    text = registry.render_metrics("")[0].decode()
    families = {family.name for family in text_string_to_metric_families(text) if family.name.startswith("executor_")}
    document = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = [line.split("`")[1] for line in document.splitlines() if line.startswith("| `executor_")]
    assert {row.partition("{")[0].removesuffix("_total") for row in rows} == families

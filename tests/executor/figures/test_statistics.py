"""Running statistics: percentiles as defined, within a bound, and totals over everything."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.figures.registry import Registry
from executor.figures.statistics import WINDOW, Statistics, percentile
from executor.outcome import Outcome
from tests.executor.figures.support import figures

DURATIONS = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=200)


def shown(statistics: Statistics) -> dict[str, Any]:
    """The statistics as data."""
    return statistics.as_dict()


@given(DURATIONS, st.floats(min_value=0.01, max_value=1))
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    """Nearest rank: it is one of the values, and no smaller one would do."""
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered)
    smaller = [value for value in ordered if value < found]
    assert len(smaller) < math.ceil(share * len(ordered))


@given(DURATIONS)
def test_percentiles_are_in_order(values: list[float]) -> None:
    """And none is beyond the largest."""
    statistics = Statistics()
    for value in values:
        statistics.add(figures(duration_s=value))
    duration = shown(statistics)["duration_s"]
    assert duration["p50"] <= duration["p95"] <= duration["p99"] <= duration["max"] == max(values)
    assert duration["samples"] == len(values)


@pytest.mark.parametrize("count", [WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW + 7])
def test_percentiles_are_over_the_last_invocations(count: int) -> None:
    """Old ones make place, one by one; counts go on."""
    statistics = Statistics()
    for number in range(count):
        statistics.add(figures(duration_s=float(number)))
    document = shown(statistics)
    last = list(range(count))[-WINDOW:]
    assert document["duration_s"]["samples"] == len(last)
    assert document["duration_s"]["max"] == last[-1]
    assert document["duration_s"]["p50"] == percentile(last, 0.5)
    assert document["invocations"] == count


def test_nothing_has_happened_yet() -> None:
    """There is nothing to tell, and no division by zero."""
    assert shown(Statistics()) == {
        "invocations": 0,
        "outcomes": {},
        "duration_s": {"samples": 0, "p50": None, "p95": None, "p99": None, "max": None},
        "cpu_s": {"mean": None, "total": 0.0},
        "max_rss_bytes": None,
        "bytes_in": 0,
        "bytes_out": 0,
    }


def test_totals_are_over_everything() -> None:
    """Means only over what was measured."""
    statistics = Statistics()
    statistics.add(figures())
    statistics.add(figures(max_rss_bytes=1, cpu_user_s=0.0, cpu_system_s=0.125, outcome=Outcome.TIMEOUT_WALL))
    statistics.add(figures(max_rss_bytes=0, outcome=Outcome.QUEUE_FULL, bytes_in=0, bytes_out=0))
    document = shown(statistics)
    assert document["outcomes"] == {"ok": 1, "queue.full": 1, "timeout.wall": 1}
    assert document["cpu_s"] == {"mean": 0.25, "total": 0.5}
    assert document["max_rss_bytes"] == 32 * 1024**2
    assert (document["bytes_in"], document["bytes_out"]) == (200, 2000)


def test_the_registry_knows_hooks_and_totals() -> None:
    """With the time since the start, from the clock."""
    now = 100.0
    registry = Registry(clock=lambda: now)
    registry.record(figures())
    registry.record(figures(hook_id="dog"))
    now = 160.5
    document: Any = registry.statistics()
    assert document["uptime_s"] == 60.5
    assert document["totals"]["invocations"] == 2
    assert list(document["hooks"]) == ["cat", "dog"]

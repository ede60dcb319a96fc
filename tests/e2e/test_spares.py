"""Spare workers, as the metrics and the log of a service show them."""

from __future__ import annotations

import pytest

from tests.e2e.harness import LAB, Executor

pytestmark = pytest.mark.e2e


def test_hits_and_misses() -> None:
    """The first request forks its worker, one that finds a spare takes it; the log says the same, with the times."""
    with Executor(LAB) as executor:
        first = executor.get("/status/200")
        executor.wait_metric('executor_slots{state="spare"}', 1)
        second = executor.get("/status/200")
        hook = 'hook="lab"'
        executor.wait_metric(f'executor_workers_taken_total{{{hook},origin="fork"}}', 1)
        executor.wait_metric(f'executor_workers_taken_total{{{hook},origin="spare"}}', 1)
        executor.wait_metric('executor_worker_start_seconds_count{phase="fork"}', 2)
        executor.wait_metric('executor_worker_start_seconds_count{phase="load"}', 2)
        one, other = (executor.invocation(answer.headers["x-invocation-id"]) for answer in (first, second))
    assert (one["spare"], other["spare"]) == (False, True)
    for figures in (one, other):
        assert figures["fork_s"] >= 0
        assert figures["load_s"] >= 0


def test_without_spares() -> None:
    """Every request forks its worker, in the slot of the one before."""
    with Executor(config={"plugins": [str(LAB)], "spares": {"total": 0}}) as executor:
        for _ in range(3):
            executor.get("/status/200")
            executor.wait_metric('executor_slots{state="busy"}', 0)
        last = executor.invocation(executor.get("/status/200").headers["x-invocation-id"])
        executor.wait_metric('executor_workers_taken_total{hook="lab",origin="fork"}', 4)
        executor.wait_metric('executor_workers_taken_total{hook="lab",origin="spare"}', 0)
    assert (last["spare"], last["slot_s"]) == (False, None)

"""Why a worker ended without a word."""

from __future__ import annotations

import pytest

from executor.config.limits import Limits
from executor.isolation.control_groups import GroupUsage
from executor.outcome import Outcome
from executor.supervisor.verdict import crash_verdict

LIMITS = Limits()


def used(*, cpu_s: float = 0.0, oom_kills: int = 0) -> GroupUsage:
    """What a control group has counted."""
    return GroupUsage(
        cpu_s=cpu_s, cpu_system_s=None, memory_bytes=0, memory_peak_bytes=None, oom_kills=oom_kills, fork_refusals=0
    )


@pytest.mark.parametrize(
    ("exit_text", "usage", "peak_bytes", "outcome"),
    [
        ("exit 0", None, 0, Outcome.WORKER_CRASHED),
        ("signal 11 (SIGSEGV)", used(), 0, Outcome.WORKER_CRASHED),
        ("signal 9 (SIGKILL)", used(oom_kills=1), 0, Outcome.LIMIT_MEMORY),
        ("exit 70", None, LIMITS.memory, Outcome.WORKER_CRASHED),
        ("exit 70", None, LIMITS.memory + 1, Outcome.LIMIT_MEMORY),
        ("signal 24 (SIGXCPU)", None, 0, Outcome.TIMEOUT_CPU),
        ("signal 9 (SIGKILL)", used(cpu_s=LIMITS.cpu_time), 0, Outcome.TIMEOUT_CPU),
    ],
)
def test_crash_verdict(exit_text: str, usage: GroupUsage | None, peak_bytes: int, outcome: Outcome) -> None:
    """A limit that was met explains it, whichever way that is known."""
    assert crash_verdict(exit_text, usage, LIMITS, peak_bytes=peak_bytes).outcome is outcome

"""The section `worker`: how long workers live. Like limits it has levels: for all hooks, for a plugin, for a hook."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from executor.config.section import Section
from executor.config.units import Count, Duration

__all__ = ["WorkerSettings"]


class WorkerSettings(Section):
    """How long workers live, for plugins that go on after their answer. What is here gives up some isolation."""

    after_response: Annotated[float, Duration("0s", "24h", "10m")] = Field(
        default=0.0,
        description="How long threads and greenlets that an endpoint has started may go on after the answer is "
        "complete. The client does not wait for them; the invocation keeps its place in `limits.concurrency`, and its "
        "limits, `wall_time` with them, go on to hold. Then the worker is ended.",
    )
    max_invocations: Annotated[int, Count(1, 1_000_000)] = Field(
        default=1,
        description="Requests of one hook that a worker answers, one after another. With more than 1, what an endpoint "
        "leaves in memory, in its scratch folder and in threads is there for later requests of the same hook, and "
        "of nothing else.",
    )
    idle_time: Annotated[float, Duration("1s", "24h", "5m")] = Field(
        default=300.0,
        description="How long a worker waits for another request, where `max_invocations` lets it.",
    )

"""The limits of one invocation, each declared once with its default, range and meaning.

The same model is used at three levels: `limits` for all hooks, `limits` of a plugin, `limits` of a hook. A
level may give any part of them; `executor.config.effective` joins the levels, the most specific one first.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from executor.config.section import Section
from executor.config.units import Count, Duration, Size

__all__ = ["Limits"]


class Limits(Section):
    """What one invocation, or one hook, may use. Times are in seconds, sizes in bytes."""

    wall_time: Annotated[float, Duration("10ms", "24h", "10m")] = Field(
        default=600.0,
        description="Longest duration of an invocation, from the end of the request's head to the end of the answer; "
        "waiting for admission counts. Over it: 504 `timeout.wall`, or the connection is cut.",
    )
    first_byte_time: Annotated[float, Duration("10ms", "24h")] = Field(
        default=120.0,
        description="Longest time from admission to the first byte of the answer's body. "
        "Over it: 504 `timeout.first_byte`.",
    )
    idle_time: Annotated[float, Duration("10ms", "24h")] = Field(
        default=120.0,
        description="Longest pause of the endpoint between two chunks of its answer. "
        "Over it the connection is cut: `timeout.idle`.",
    )
    client_idle_time: Annotated[float, Duration("10ms", "24h")] = Field(
        default=60.0,
        description="Longest pause of the client while it sends its body or while it must read the answer. "
        "Over it: 408 `client.timeout`, or the connection is cut.",
    )
    cancel_grace_time: Annotated[float, Duration("0s", "5m", "1s")] = Field(
        default=1.0,
        description="Time that a worker gets to clean up when its invocation is cancelled, before SIGKILL.",
    )
    request_body: Annotated[int, Size("0 B", "1 TiB")] = Field(
        default=128 * 1024**2,
        description="Largest request body. Over it: 413 `limit.request_body`.",
    )
    response_body: Annotated[int, Size("0 B", "16 TiB", "1 GiB")] = Field(
        default=1024**3,
        description="Largest response body. Over it: 502 `limit.response_body`, or the connection is cut.",
    )
    log_output: Annotated[int, Size("0 B", "1 GiB", "1 MiB")] = Field(
        default=1024**2,
        description="Log output kept of one invocation; what comes after is counted and dropped.",
    )
    log_line: Annotated[int, Size("80 B", "64 KiB", "16 KiB")] = Field(
        default=16 * 1024,
        description="Longest log line; longer ones are cut.",
    )
    concurrency: Annotated[int, Count(1, 10_000)] = Field(
        default=32,
        description="Invocations of one hook that run at the same time; more of them wait.",
    )
    queue_length: Annotated[int, Count(0, 100_000)] = Field(
        default=256,
        description="Requests of one hook that may wait. Over it: 429 `queue.hook`.",
    )

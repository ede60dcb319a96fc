"""The limits of one invocation, each declared once with its default, range and meaning.

The same model is used at three levels: `limits` for all hooks, `limits` of a plugin, `limits` of a hook. A
level may give any part of them; `executor.config.effective` joins the levels, the most specific one first.

The limits of the worker, from `memory` on, hold for everything that an invocation starts, all its processes
together, unless the text says "each process".
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from executor.config.section import Section
from executor.config.units import Count, Cpus, Duration, Quantity, Size

__all__ = ["MEMORY_HINT_FLOOR", "Limits", "quantity_of"]

MEMORY_HINT_FLOOR: Final = 256 * 1024**2
"""Bytes: a manifest's `resource.memory` never lowers `memory` below this.

Real plugins say 1 MiB, which is less than Python itself needs; 256 MiB is what the guide says that `dify plugin init`
puts into a new plugin.
"""


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
    memory: Annotated[int, Size("32 MiB", "1 TiB", "512 MiB")] = Field(
        default=512 * 1024**2,
        description="Largest memory of an invocation: of all its processes, of files in its scratch folder, and of "
        "what the kernel holds for it. Over it the whole worker is killed, with all its processes: "
        "502 `limit.memory`, or the connection is cut.",
    )
    processes: Annotated[int, Count(1, 32_768)] = Field(
        default=128,
        description="Processes and threads of an invocation together, the worker itself included. Over it no more "
        "can be started: `OSError` or `RuntimeError` in the endpoint.",
    )
    cpu_time: Annotated[float, Duration("100ms", "24h", "1m")] = Field(
        default=60.0,
        description="CPU time of an invocation, of all its processes together. Over it: 504 `timeout.cpu`, or the "
        "connection is cut.",
    )
    cpu_share: Annotated[float, Cpus(0.05, 256)] = Field(
        default=1.0,
        description="CPUs that an invocation may use at a time, all its processes together; 0.5 is half of one. Over "
        "it they wait.",
    )
    open_files: Annotated[int, Count(32, 65_536)] = Field(
        default=256,
        description="Open files, sockets and pipes of each process. Over it: `OSError` (EMFILE) in the endpoint.",
    )
    scratch_size: Annotated[int, Size("64 KiB", "1 TiB")] = Field(
        default=128 * 1024**2,
        description="All files in the scratch folder together. They live in memory and count as `memory`. Over it: "
        "`OSError` (ENOSPC) in the endpoint.",
    )
    scratch_files: Annotated[int, Count(16, 10_000_000)] = Field(
        default=8192,
        description="Files, folders and links in the scratch folder. Over it: `OSError` (ENOSPC) in the endpoint.",
    )
    file_size: Annotated[int, Size("4 KiB", "1 TiB")] = Field(
        default=128 * 1024**2,
        description="Largest size of each file that is written. Over it: `OSError` (EFBIG) in the endpoint.",
    )
    calls: Annotated[int, Count(0, 1_000_000)] = Field(
        default=10_000,
        description="Reverse calls of an invocation. Over it each further one fails, and then the invocation: "
        "502 `worker.protocol`.",
    )
    calls_at_once: Annotated[int, Count(1, 128)] = Field(
        default=16,
        description="Reverse calls of an invocation that go on at the same time; more of them wait.",
    )
    call_time: Annotated[float, Duration("10ms", "24h")] = Field(
        default=300.0,
        description="Longest duration of one reverse call; waiting for others counts. Over it the call fails.",
    )
    call_request: Annotated[int, Size("1 KiB", "64 MiB", "16 MiB")] = Field(
        default=16 * 1024**2,
        description="Largest request of one reverse call, uploaded files and stored values included. Over it the call "
        "fails.",
    )
    call_answer: Annotated[int, Size("1 KiB", "1 TiB", "256 MiB")] = Field(
        default=256 * 1024**2,
        description="Largest answer of one reverse call, all its parts together. Over it the call fails.",
    )


def quantity_of(name: str, section: type[Section] = Limits) -> Quantity:
    """Find what values a limit, or a number of another section, may have, and how they are written.

    Raises:
        KeyError: There is no such limit.
    """
    return next(item for item in section.model_fields[name].metadata if isinstance(item, Quantity))

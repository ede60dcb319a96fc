"""What one invocation cost and how it ended: metrics, statistics and the log line are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from executor.outcome import Outcome

__all__ = ["Figures", "StartTimes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTimes:
    """How long it took until a worker was ready, by phase, in seconds.

    Attributes:
        slot_s: To make its slot, with its namespaces and the template, which is locked down; `None` when the slot was
            there already.
        fork_s: From asking for the worker to the report of its fork.
        load_s: From there to a worker that has imported its source.
    """

    slot_s: float | None
    fork_s: float
    load_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one finished invocation.

    Attributes:
        invocation_id: UUIDv7 text, the same as in the `X-Invocation-Id` header.
        hook_id: The hook that was addressed.
        plugin: Manifest name of the hook's plugin; empty when there is no such hook.
        method: HTTP method, upper case.
        rule: Declared path of the endpoint, such as `/duck/<app_id>`; empty when no endpoint matched. Never
            the path of the request, which may carry what should not be in a log.
        outcome: How it ended.
        status: HTTP status that was sent; 0 when no answer was.
        started_at: When the request head was complete, in Unix seconds.
        queue_s: Time spent waiting for admission, in seconds.
        ready_s: From admission to a worker that is ready, in seconds; `None` when there never was one.
        spare: Whether the worker had been there before; `None` when there never was one.
        reused: Whether the worker had answered another request of the hook before.
        start: What its start has taken, whenever that was; `None` when there never was one.
        first_byte_s: From the request head to the first byte of the answer, in seconds; `None` when there was
            none.
        duration_s: From the request head to the end of the answer, in seconds.
        after_s: How long the worker went on after a whole answer, in seconds; `None` where it was not to.
        after_end: What ended that: `finished`, `time` (`worker.after_response`), or the code of the outcome that it
            would have been before the answer, such as `limit.memory`.
        cpu_user_s: User CPU time of the worker and the descendants it waited for, in seconds (`wait4`).
        cpu_system_s: System CPU time, likewise.
        max_rss_bytes: Peak resident set of the worker, in bytes (`wait4`), over all requests that it has answered; 0
            when no worker ran.
        memory_peak_bytes: Highest memory of all its processes together, with its private files, as a control group
            counts it; `None` where none does, or `debug` is off.
        minor_faults: Page faults served without I/O.
        major_faults: Page faults that needed I/O.
        bytes_in: Bytes of the request body that were read from the client.
        bytes_out: Bytes of the response body that were sent to the client.
        pid: Process id of the worker; `None` when there was none.
        exit: How the worker ended, such as `exit 0` or `signal 9`; `None` when that is not known.
        log_records: Log records kept of this invocation.
        log_dropped_bytes: Log output beyond the limit, dropped.
        detail: What an operator needs to understand a failure; not sent to the client unless `debug` is on.
    """

    invocation_id: str
    hook_id: str
    plugin: str
    method: str
    rule: str
    outcome: Outcome
    status: int
    started_at: float
    queue_s: float
    ready_s: float | None
    first_byte_s: float | None
    duration_s: float
    cpu_user_s: float
    cpu_system_s: float
    max_rss_bytes: int
    minor_faults: int
    major_faults: int
    bytes_in: int
    bytes_out: int
    pid: int | None
    exit: str | None
    log_records: int
    log_dropped_bytes: int
    detail: str
    memory_peak_bytes: int | None = None
    spare: bool | None = None
    start: StartTimes | None = None
    reused: bool = False
    after_s: float | None = None
    after_end: str | None = None

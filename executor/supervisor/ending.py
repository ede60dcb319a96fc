"""What an early end of an invocation means for the worker and for the client; an end that nobody can interrupt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Final

from executor.outcome import Outcome
from executor.supervisor.client import Client
from executor.supervisor.measurements import Measurements
from executor.supervisor.verdict import ERROR_OUTCOMES, Verdict
from executor.supervisor.worker import WorkerHandle
from protocol.errors import LocalProtocolError
from protocol.messages import Cancel

__all__ = ["complete", "stop_worker", "tell_client"]

ENDS_BY_ITSELF: Final = frozenset(ERROR_OUTCOMES.values()) - {Outcome.WORKER_CRASHED}
"""Outcomes that the worker told us itself, with `ERROR`; it exits after that."""

ENDED_AT_ONCE: Final = frozenset(
    {
        Outcome.WORKER_CRASHED,
        Outcome.WORKER_PROTOCOL,
        Outcome.LIMIT_RESPONSE_BODY,
        Outcome.LIMIT_LOG_OUTPUT,
        Outcome.LIMIT_MEMORY,
        Outcome.TIMEOUT_CPU,
        Outcome.INTERNAL,
    }
)
"""Outcomes after which nothing that the worker does is of interest. After all others it may clean up."""


def stop_worker(handle: WorkerHandle, outcome: Outcome) -> None:
    """Ask a worker that may be well to stop, leave one alone that ends by itself, end one that is not well."""
    if outcome in ENDS_BY_ITSELF:
        return
    if outcome in ENDED_AT_ONCE:
        handle.kill()
        return
    with contextlib.suppress(LocalProtocolError):
        handle.channel.send(Cancel(reason=outcome.code))


async def tell_client(client: Client, verdict: Verdict, measured: Measurements, idle_time_s: float) -> None:
    """Give the client the answer that a verdict stands for; cut its connection if a response had begun.

    Args:
        client: Who asked.
        verdict: Other than OK.
        measured: Says whether a response had begun; gets the status.
        idle_time_s: For how long a client that takes nothing is waited for. Then its connection is cut.
    """
    if measured.first_byte is not None:
        client.cut(at_once=verdict.outcome is Outcome.CLIENT_TIMEOUT)
    elif verdict.outcome is not Outcome.CLIENT_GONE:
        measured.status = verdict.outcome.status
        try:
            async with asyncio.timeout(idle_time_s):
                await client.fail(verdict)
        except TimeoutError:
            client.cut(at_once=True)


async def complete(conclusion: Awaitable[object]) -> None:
    """Run something to its end, whoever cancels us meanwhile."""
    task = asyncio.ensure_future(conclusion)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()

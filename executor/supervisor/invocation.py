"""One invocation: an HTTP call carried through one worker, from admission to the recorded figures.

Theory of operation
-------------------
`Invocation.run` is one coroutine that talks to the client and to the worker; a second task carries the request body
and, when that is done, listens for the client going away. Everything that can end an invocation early (a clock, the
client, a limit, a shutdown) calls `interrupt`, which notes the first reason and cancels the main coroutine at
whatever it waits for.

A whole answer need not be the end: where `worker.after_response` says so, the coroutine waits, with all clocks and
limits still in force but the client's, until the worker ends or its time is over. Whatever happens then, the outcome
is that of the answer; the figures tell what became of the rest.

All ends meet in `_conclude`, which cannot be interrupted:

1. the client gets the answer that the outcome stands for, or a cut connection if a response had begun;
2. the worker is told to stop and, after a grace time, killed;
3. its exit is awaited, its last output read, its folder removed, its place in the queue given back;
4. the figures are recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from executor.config.limits import Limits
from executor.figures.figures import Figures
from executor.outcome import Outcome
from executor.reverse.broker import CallBroker, CallLink
from executor.supervisor.admission import Admission, RejectedError
from executor.supervisor.client import NO_BODY_STATUSES, Client, ClientGoneError, InvalidResponseError
from executor.supervisor.kept import Keeper
from executor.supervisor.measurements import Measurements
from executor.supervisor.output import LogRecord, OutputLog
from executor.supervisor.ready_worker import ReadyWorker, StartError
from executor.supervisor.runtime import PluginRuntime
from executor.supervisor.usage_watch import UsageWatch
from executor.supervisor.verdict import ERROR_OUTCOMES, Verdict, crash_verdict, error_verdict, start_verdict
from executor.supervisor.watchdog import Watchdog
from executor.supervisor.worker import WorkerHandle, describe_exit
from protocol.control import Exited
from protocol.errors import LocalProtocolError
from protocol.limits import MAX_DATA
from protocol.messages import (
    EXIT_OUT_OF_TIME,
    Body,
    BodyEnd,
    Cancel,
    End,
    Error,
    Invoke,
    Ready,
    Response,
)

__all__ = ["Invocation", "OpenBroker"]

OpenBroker = Callable[[CallLink, Callable[[], None]], CallBroker]
"""Makes the broker of reverse calls, given the way to the worker, and what is to be told when calls begin and end."""

log = structlog.get_logger("executor.invocation")

EXIT_GRACE_S: Final = 5.0
"""Time for `call_on_close` hooks after a whole answer, before the worker is killed."""

READY_AGAIN_S: Final = 5.0
"""Time for the same hooks in a worker that is to be kept, until it is ready again."""

AFTER_RESPONSE_ENDS: Final = {0: "finished", EXIT_OUT_OF_TIME: "time"}
"""What has ended the time after the answer, by the exit status of a worker that is well."""

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


class Invocation:
    """One call of one endpoint.

    Args:
        invoke: What the worker is told, apart from the body.
        rule: The endpoint's declared path, for figures.
        limits: The hook's effective limits.
        client: Who asked.
        runtime: Where the worker comes from.
        admission: Who may start when.
        record: Takes the figures at the end.
        emit_log: Takes each line of the endpoint's output.

    Attributes:
        keeper: Keeps workers for later requests of the hook; without, none is.
        open_broker: Carries the endpoint's reverse calls; without, there is nobody to make them to.
    """

    def __init__(
        self,
        *,
        invoke: Invoke,
        rule: str,
        limits: Limits,
        client: Client,
        runtime: PluginRuntime,
        admission: Admission,
        record: Callable[[Figures], None],
        emit_log: Callable[[str, str, LogRecord], None],
    ) -> None:
        self.invoke = invoke
        self.rule = rule
        self.limits = limits
        self.runtime = runtime
        self.state = "queued"
        self.loop = asyncio.get_running_loop()
        self.measured = Measurements()
        self._emit = partial(emit_log, invoke.hook_id, invoke.invocation_id)
        self.output = OutputLog(
            limit_bytes=limits.log_output, line_bytes=limits.log_line, emit=self._emit, flooded=self._on_flood
        )
        self._client = client
        self._admission = admission
        self._record = record
        self.open_broker: OpenBroker | None = None
        self.keeper: Keeper | None = None
        self._ready_again = False
        self._kept = False
        self._calls: CallBroker | None = None
        self._client_is_waited_for = False
        self._worker: ReadyWorker | None = None
        self._usage_watch: UsageWatch | None = None
        self._admitted = False
        self._verdict: Verdict | None = None
        self._concluding = False
        self._task: asyncio.Task[None] | None = None
        self._uplink: asyncio.Task[None] | None = None
        self._watchdog = Watchdog(self.loop, limits.wall_time, self._on_expired)

    @property
    def pid(self) -> int | None:
        """The worker's process id, once there is one."""
        return self._worker.handle.pid if self._worker is not None else None

    @property
    def age_s(self) -> float:
        """Seconds since the request was received."""
        return time.monotonic() - self.measured.began

    def interrupt(self, outcome: Outcome, detail: str = "") -> bool:
        """End the invocation with this outcome.

        Returns:
            False when it is ending already, and this changes nothing.
        """
        if self._verdict is not None or self._concluding or self._task is None:
            return False
        self._verdict = Verdict(outcome, detail)
        self._task.cancel()
        return True

    async def run(self) -> None:
        """Carry the call through. Never raises: every end is an outcome, recorded and told to the client."""
        self._task = asyncio.current_task()
        stopped = False
        try:
            verdict = await self._serve()
        except InvalidResponseError as error:
            verdict = Verdict(Outcome.WORKER_PROTOCOL, private_detail=str(error))
        except asyncio.CancelledError:
            stopped = self._verdict is None  # by somebody who did not say why: the event loop is being closed
            if not stopped and self._task is not None:
                self._task.uncancel()
            verdict = self._verdict or Verdict(Outcome.SHUTDOWN)
        except Exception as error:
            log.exception("invocation.failed", id=self.invoke.invocation_id)
            verdict = Verdict(Outcome.INTERNAL, private_detail=repr(error))
        self._concluding = True
        await self._shielded(self._conclude(verdict))
        if stopped:
            raise asyncio.CancelledError

    async def _serve(self) -> Verdict:
        """Carry the call through as long as nothing interrupts it; how it ended."""
        if (self.invoke.content_length or 0) > self.limits.request_body:
            return Verdict(Outcome.LIMIT_REQUEST_BODY, f"limit {self.limits.request_body} bytes")
        if not self.invoke.has_body:
            self._uplink = self.loop.create_task(self._listen())
        try:
            await self._admission.acquire(
                self.invoke.hook_id,
                concurrency=self.limits.concurrency,
                queue_length=self.limits.queue_length,
            )
        except RejectedError as error:
            return Verdict(error.outcome, error.detail)
        self._admitted = True
        self.measured.admitted = time.monotonic()
        self.state = "starting"
        self._watch_endpoint()
        try:
            self._worker = await self._obtain_worker()
        except StartError as error:
            return start_verdict(error)
        self.measured.ready = time.monotonic()
        if not self.measured.reused:
            self.measured.spare, self.measured.start = self._worker.spare, self._worker.start
        self.state = "running"
        handle = self._worker.handle
        self._usage_watch = UsageWatch(self._worker.slot, handle.child, self.limits, self.interrupt)
        if self.open_broker is not None:
            self._calls = self.open_broker(handle.channel, self._watch_endpoint)
            handle.channel.serve_calls(self._calls.take)
        again = self.keeper is not None and self.keeper.again
        handle.channel.send(replace(self.invoke, keep=True) if again else self.invoke)
        if self.invoke.has_body:
            self._uplink = self.loop.create_task(self._listen())
        verdict = await self._carry_response(handle)
        if verdict.outcome is Outcome.OK and (self.invoke.after_response_s or again):
            await self._let_finish(handle, READY_AGAIN_S if again else 0)
        return verdict

    async def _obtain_worker(self) -> ReadyWorker:
        """Take a worker that was kept for this hook, or any other."""
        keeper = self.keeper
        while keeper is not None and (worker := keeper.take()) is not None:
            self._worker = worker  # whatever happens now, it is ended
            worker.handle.use_sink(self.output)
            if await worker.measure_anew() and worker.waits:
                self.measured.reused, self.measured.spare = True, False
                return worker
            self._worker = None
            keeper.discard(worker)
        uses = keeper.uses if keeper is not None else 1
        return await self.runtime.obtain_worker(
            (self.invoke.source,), self.output, self.limits, debug=self.invoke.debug, uses=uses
        )

    async def _carry_response(self, handle: WorkerHandle) -> Verdict:
        message = await handle.channel.receive()
        if not isinstance(message, Response):
            return await self._bad_end(handle, message)
        self.state = "responding"
        bodiless = self.invoke.method == "HEAD" or message.status in NO_BODY_STATUSES
        await self._to_client(self._client.start(message.status, message.headers))
        self.measured.first_byte = time.monotonic()
        self.measured.status = message.status
        while True:
            message = handle.channel.receive_nowait()
            if message is None:
                message = await handle.channel.receive()
            match message:
                case bytes() if bodiless:
                    return Verdict(Outcome.WORKER_PROTOCOL, private_detail="a body where HTTP allows none")
                case bytes():
                    self.measured.bytes_out += len(message)
                    if self.measured.bytes_out > self.limits.response_body:
                        return Verdict(Outcome.LIMIT_RESPONSE_BODY, f"limit {self.limits.response_body} bytes")
                    await self._to_client(self._client.write(message))
                    handle.channel.grant(len(message))
                case End():
                    await self._to_client(self._client.finish())
                    return Verdict(Outcome.OK)
                case _:
                    return await self._bad_end(handle, message)

    async def _let_finish(self, handle: WorkerHandle, more_s: float) -> None:
        """Let the worker go on after its answer until it ends or is ready again, its time is over, or it is ended."""
        self.state = "finishing"
        self.measured.answered = time.monotonic()
        if self._uplink is not None:
            self._uplink.cancel()
        self._watchdog.rest()
        deadline = self.measured.answered + self.invoke.after_response_s + more_s
        ended = "time"
        while (left := deadline - time.monotonic()) > 0:
            try:
                self._ready_again = await _wait_end(handle, left)
            except asyncio.CancelledError:
                if self._verdict is None or self._task is None:
                    raise
                self._task.uncancel()
                verdict, self._verdict = self._verdict, None
                if verdict.outcome in {Outcome.CLIENT_GONE, Outcome.CLIENT_TIMEOUT}:
                    continue  # it was told when the answer had been sent, which it has
                handle.kill()
                ended = verdict.outcome.code
                break
            if self._ready_again:
                ended = "finished"
                break
            if handle.child.exited.done():
                ended = await self._ended_after_response(handle)
                break
        if self.invoke.after_response_s:
            self.measured.after_s = time.monotonic() - self.measured.answered
            self.measured.after_end = ended

    async def _ended_after_response(self, handle: WorkerHandle) -> str:
        """What has ended a worker that has exited after its answer."""
        report = handle.child.exited.result()
        status = os.waitstatus_to_exitcode(report.status) if report is not None else None
        if status in AFTER_RESPONSE_ENDS and handle.channel.violation is None:
            return AFTER_RESPONSE_ENDS[status]
        return (await self._bad_end(handle, None)).outcome.code

    async def _to_client(self, sending: Awaitable[None]) -> None:
        """Send something, on the client's clock; afterwards the endpoint's clock runs."""
        self._client_is_waited_for = True
        self._watchdog.watch(Outcome.CLIENT_TIMEOUT, self.limits.client_idle_time)
        await sending
        self._client_is_waited_for = False
        self._watch_endpoint()

    async def _listen(self) -> None:
        """Carry the request body, if there is one, to the worker; then wait for the client to go away."""
        try:
            if self.invoke.has_body and self._worker is not None:
                await self._carry_body(self._worker.handle)
            await self._client.wait_gone()
            self.interrupt(Outcome.CLIENT_GONE)
        except ClientGoneError:
            self.interrupt(Outcome.CLIENT_GONE)
        except TimeoutError:
            self.interrupt(Outcome.CLIENT_TIMEOUT, f"no data for {self.limits.client_idle_time:g} s")
        except Exception as error:
            log.exception("invocation.failed", id=self.invoke.invocation_id)
            self.interrupt(Outcome.INTERNAL, repr(error))

    async def _carry_body(self, handle: WorkerHandle) -> None:
        while (data := await self._receive_body()) is not None:
            self.measured.bytes_in += len(data)
            if self.measured.bytes_in > self.limits.request_body:
                self.interrupt(Outcome.LIMIT_REQUEST_BODY, f"limit {self.limits.request_body} bytes")
                return
            await self._send_body(handle, data)
        handle.channel.send(BodyEnd())

    async def _receive_body(self) -> bytes | None:
        """Wait for the client, on the client's clock: the endpoint cannot be expected to answer meanwhile."""
        if self.state == "running":
            self._client_is_waited_for = True
            self._watchdog.rest()
        try:
            async with asyncio.timeout(self.limits.client_idle_time):
                return await self._client.receive()
        finally:
            if self.state == "running":
                self._client_is_waited_for = False
                self._watch_endpoint()

    async def _send_body(self, handle: WorkerHandle, data: bytes) -> None:
        """Send one piece as fast as the worker takes it; a worker that has ended takes nothing any more."""
        view = memoryview(data)
        while view:
            if not await handle.channel.wait_writable():
                return
            size = min(len(view), MAX_DATA, handle.channel.send_window)
            handle.channel.send(Body(data=bytes(view[:size])))
            view = view[size:]

    def _watch_endpoint(self) -> None:
        """Have the endpoint's clock run, unless it is others who are waited for: the client, or those it calls."""
        if self._client_is_waited_for:
            return
        if self._calls is not None and self._calls.busy:
            self._watchdog.rest()
        elif self.state == "responding":
            self._watchdog.watch(Outcome.TIMEOUT_IDLE, self.limits.idle_time)
        else:
            self._watchdog.watch(Outcome.TIMEOUT_FIRST_BYTE, self.limits.first_byte_time)

    async def _bad_end(self, handle: WorkerHandle, message: object) -> Verdict:
        """Find out why a worker ended other than with `END`."""
        if isinstance(message, Error):
            return error_verdict(message)
        if handle.channel.violation is not None:
            return Verdict(Outcome.WORKER_PROTOCOL, private_detail=str(handle.channel.violation))
        report = await handle.wait_exit(0)
        usage, peak_bytes = None, 0
        if self._worker is not None:
            usage = self._worker.usage()
            if report is not None and self._worker.slot.group is None:
                peak_bytes = report.max_rss_bytes
        return crash_verdict(describe_exit(report, handle.child.failure), usage, self.limits, peak_bytes=peak_bytes)

    def _on_expired(self, outcome: Outcome, seconds: float) -> None:
        self.interrupt(outcome, f"limit {seconds:g} s")

    def _on_flood(self) -> None:
        self.interrupt(Outcome.LIMIT_LOG_OUTPUT, f"limit {self.limits.log_output} bytes")

    async def _conclude(self, verdict: Verdict) -> None:
        self._watchdog.stop()
        if self._usage_watch is not None:
            self._usage_watch.stop()
        self.state = "ending"
        if self._uplink is not None:
            self._uplink.cancel()
        report = None
        try:
            if verdict.outcome is not Outcome.OK:
                self._stop_worker(verdict.outcome)
                await self._end_calls()
                await self._tell_client(verdict)
            if self.measured.answered is None:
                self.measured.answered = time.monotonic()
        finally:  # whatever went wrong: neither the worker nor its place may be lost
            try:
                report = await self._finish_worker(verdict.outcome)
            finally:
                await self._end_calls()
                if self._admitted:
                    self._admission.release(self.invoke.hook_id)
        self.output.close()
        if verdict.traceback:
            self._emit(LogRecord(time.time(), "error", "traceback", verdict.traceback))
        self._record(self._figures(verdict, report))

    def _stop_worker(self, outcome: Outcome) -> None:
        """Ask a worker that may be well to stop, leave one alone that ends by itself, end one that is not well."""
        if self._worker is None or outcome in ENDS_BY_ITSELF:
            return
        if outcome in ENDED_AT_ONCE:
            self._worker.handle.kill()
            return
        with contextlib.suppress(LocalProtocolError):
            self._worker.handle.channel.send(Cancel(reason=outcome.code))

    async def _end_calls(self) -> None:
        """End reverse calls: at once after a failure, with the worker after a whole answer."""
        if self._calls is not None:
            await self._calls.close()

    async def _tell_client(self, verdict: Verdict) -> None:
        if self.measured.first_byte is not None:
            self._client.cut(at_once=verdict.outcome is Outcome.CLIENT_TIMEOUT)
        elif verdict.outcome is not Outcome.CLIENT_GONE:
            self.measured.status = verdict.outcome.status
            try:
                async with asyncio.timeout(self.limits.client_idle_time):
                    await self._client.fail(verdict)
            except TimeoutError:
                self._client.cut(at_once=True)

    async def _finish_worker(self, outcome: Outcome) -> Exited | None:
        if self._worker is None:
            return None
        well = outcome is Outcome.OK and self._verdict is None  # nothing has come too late to change the outcome
        if well and self._ready_again and self.keeper is not None:
            await self._end_calls()
            report = self._worker.report_so_far()
            if self.invoke.debug:
                self._look_at_memory()
            self._worker.handle.read_all()
            may = not self.output.has_flooded and await self._worker.measure_anew()
            if may and self.keeper.keep(self._worker, self._emit):
                self._kept = True
                return report
            self._worker.handle.kill()
        grace = EXIT_GRACE_S if outcome is Outcome.OK else self.limits.cancel_grace_time
        return await self._worker.finish(grace, self._look_at_memory if self.invoke.debug else None)

    def _look_at_memory(self) -> None:
        usage = self._worker.usage() if self._worker is not None else None
        self.measured.memory_peak_bytes = usage.memory_peak_bytes if usage is not None else None

    async def _shielded(self, conclusion: Awaitable[None]) -> None:
        """Run to the end whoever cancels us meanwhile."""
        task = asyncio.ensure_future(conclusion)
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(task)
        task.result()

    def _figures(self, verdict: Verdict, report: Exited | None) -> Figures:
        handle = self._worker.handle if self._worker is not None else None
        return self.measured.to_figures(
            verdict,
            invoke=self.invoke,
            rule=self.rule,
            plugin=self.runtime.name,
            output=self.output,
            report=report,
            pid=self.pid,
            exit_text=self._describe_end(handle, report) if handle is not None else None,
        )

    def _describe_end(self, handle: WorkerHandle, report: Exited | None) -> str:
        return "kept" if self._kept else describe_exit(report, handle.child.failure)


async def _wait_end(handle: WorkerHandle, timeout_s: float) -> bool:
    """Wait for a worker's end, or until it says that it is ready again; whether it is."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            message = await handle.channel.receive()
            if isinstance(message, Ready):
                return True
            await asyncio.wait({handle.child.exited})
    return False

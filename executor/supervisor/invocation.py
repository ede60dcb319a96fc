"""One invocation: an HTTP call carried through one worker, from admission to the recorded figures.

Theory of operation
-------------------
`Invocation.run` is one coroutine that talks to the client and to the worker; a second task carries the request body
and, when that is done, listens for the client going away. Everything that can end an invocation early (a clock, the
client, a limit, a shutdown) calls `interrupt`, which notes the first reason and cancels the main coroutine at
whatever it waits for. Whose clock runs, `clocks` says.

A whole answer need not be the end: where `worker.after_response` says so, the coroutine waits (`after_response`), with
all clocks and limits still in force but the client's, until the worker ends or its time is over. Whatever happens then,
the outcome is that of the answer; the figures tell what became of the rest.

All ends meet in `_conclude`, which cannot be interrupted (`ending` has its parts):

1. unless the answer was whole, the worker is told to stop, or killed, and its reverse calls are ended;
2. the client then gets the answer that the outcome stands for, or a cut connection if a response had begun;
3. the worker's exit is awaited, for a grace time only, its last output read, its slot and its place in the queue given
   back; or it is kept for the next request;
4. the figures are recorded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from executor.config.limits import Limits
from executor.figures.figures import Figures
from executor.outcome import Outcome
from executor.reverse.broker import CallBroker, CallLink
from executor.supervisor.admission import Admission, RejectedError
from executor.supervisor.after_response import wait_finished
from executor.supervisor.channel import Channel
from executor.supervisor.client import NO_BODY_STATUSES, Client, ClientGoneError, InvalidResponseError
from executor.supervisor.clocks import Clocks
from executor.supervisor.ending import complete, stop_worker, tell_client
from executor.supervisor.kept import Keeper
from executor.supervisor.measurements import Measurements
from executor.supervisor.output import LogRecord, OutputLog
from executor.supervisor.ready_worker import ReadyWorker, StartError
from executor.supervisor.request_body import carry_body
from executor.supervisor.runtime import PluginRuntime
from executor.supervisor.usage_watch import UsageWatch
from executor.supervisor.verdict import Verdict, end_verdict, start_verdict
from executor.supervisor.watchdog import Watchdog
from executor.supervisor.worker import describe_exit
from protocol.control import Exited
from protocol.messages import End, Invoke, Response

__all__ = ["Invocation", "OpenBroker"]

OpenBroker = Callable[[CallLink, Callable[[], None]], CallBroker]
"""Makes the broker of reverse calls, given the way to the worker, and what is to be told when calls begin and end."""

log = structlog.get_logger("executor.invocation")

EXIT_GRACE_S: Final = 5.0
"""Time for `call_on_close` hooks after a whole answer, before the worker is killed."""

READY_AGAIN_S: Final = 5.0
"""Time for the same hooks in a worker that is to be kept, until it is ready again."""


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
        self._worker: ReadyWorker | None = None
        self._usage_watch: UsageWatch | None = None
        self._admitted = False
        self._verdict: Verdict | None = None
        self._concluding = False
        self._task: asyncio.Task[None] | None = None
        self._uplink: asyncio.Task[None] | None = None
        self._watchdog = Watchdog(self.loop, limits.wall_time, self._on_expired)
        self._clocks = Clocks(self._watchdog, limits)

    @property
    def state(self) -> str:
        """How far it is, in the words of `Clocks.state`."""
        return self._clocks.state

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

    def _take_interruption(self) -> Verdict | None:
        """Have the main coroutine go on, which was cancelled; why it was, or None where nobody has said that."""
        if self._verdict is None or self._task is None:
            return None
        self._task.uncancel()
        verdict, self._verdict = self._verdict, None
        return verdict

    async def run(self) -> None:
        """Carry the call through. Never raises: every end is an outcome, recorded and told to the client."""
        self._task = asyncio.current_task()
        stopped = False
        try:
            verdict = await self._serve()
        except InvalidResponseError as error:
            verdict = Verdict(Outcome.WORKER_PROTOCOL, private_detail=str(error))
        except asyncio.CancelledError:
            interruption = self._take_interruption()
            stopped = interruption is None  # by somebody who did not say why: the event loop is being closed
            verdict = interruption or Verdict(Outcome.SHUTDOWN)
        except Exception as error:
            log.exception("invocation.failed", id=self.invoke.invocation_id)
            verdict = Verdict(Outcome.INTERNAL, private_detail=repr(error))
        self._concluding = True
        try:
            await complete(self._conclude(verdict))
        finally:
            self._fall_apart()
        if stopped:
            raise asyncio.CancelledError

    async def _serve(self) -> Verdict:
        """Carry the call through as long as nothing interrupts it; how it ended."""
        if (self.invoke.content_length or 0) > self.limits.request_body:
            return Verdict(Outcome.LIMIT_REQUEST_BODY, f"limit {self.limits.request_body} bytes")
        if not self.invoke.has_body:
            self._uplink = self.loop.create_task(self._listen(None))
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
        self._clocks.state = "starting"
        self._clocks.watch_endpoint()
        try:
            worker = self._worker = await self._obtain_worker()
        except StartError as error:
            return start_verdict(error)
        self.measured.ready = time.monotonic()
        if not self.measured.reused:
            self.measured.spare, self.measured.start = worker.spare, worker.start
        self._clocks.state = "running"
        channel = worker.handle.channel
        self._usage_watch = UsageWatch(worker.slot, worker.handle.child, self.limits, self.interrupt)
        if self.open_broker is not None:
            self._calls = self._clocks.calls = self.open_broker(channel, self._clocks.watch_endpoint)
            channel.serve_calls(self._calls.take)
        again = self.keeper is not None and self.keeper.again
        channel.send(replace(self.invoke, keep=True) if again else self.invoke)
        if self.invoke.has_body:
            self._uplink = self.loop.create_task(self._listen(channel))
        verdict = await self._carry_response(worker)
        if verdict.outcome is Outcome.OK and (self.invoke.after_response_s or again):
            await self._let_finish(worker, READY_AGAIN_S if again else 0)
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

    async def _carry_response(self, worker: ReadyWorker) -> Verdict:
        channel = worker.handle.channel
        message = await channel.receive()
        if not isinstance(message, Response):
            return await end_verdict(worker, message, self.limits)
        self._clocks.state = "responding"
        bodiless = self.invoke.method == "HEAD" or message.status in NO_BODY_STATUSES
        await self._clocks.wait_sent(self._client.start(message.status, message.headers))
        self.measured.first_byte = time.monotonic()
        self.measured.status = message.status
        while True:
            message = channel.receive_nowait()
            if message is None:
                message = await channel.receive()
            match message:
                case bytes() if bodiless:
                    return Verdict(Outcome.WORKER_PROTOCOL, private_detail="a body where HTTP allows none")
                case bytes():
                    self.measured.bytes_out += len(message)
                    if self.measured.bytes_out > self.limits.response_body:
                        return Verdict(Outcome.LIMIT_RESPONSE_BODY, f"limit {self.limits.response_body} bytes")
                    ended = channel.take_end()
                    await self._clocks.wait_sent(self._client.write(message, last=ended))
                    if ended:
                        return Verdict(Outcome.OK)
                    channel.grant(len(message))
                case End():
                    await self._clocks.wait_sent(self._client.finish())
                    return Verdict(Outcome.OK)
                case _:
                    return await end_verdict(worker, message, self.limits)

    async def _let_finish(self, worker: ReadyWorker, more_s: float) -> None:
        """Let the worker go on after its answer until it ends or is ready again, its time is over, or it is ended."""
        self._clocks.state = "finishing"
        answered = self.measured.answered = time.monotonic()
        if self._uplink is not None:
            self._uplink.cancel()
        self._watchdog.rest()
        ended, self._ready_again = await wait_finished(
            worker,
            self.limits,
            deadline=answered + self.invoke.after_response_s + more_s,
            take_interruption=self._take_interruption,
        )
        if self.invoke.after_response_s:
            self.measured.after_s = time.monotonic() - answered
            self.measured.after_end = ended

    async def _listen(self, channel: Channel | None) -> None:
        """Carry the request body to the worker, if there is one; then wait for the client to go away."""
        limit = self.limits.request_body
        try:
            if channel is not None and not await carry_body(
                self._client, channel, clocks=self._clocks, measured=self.measured, limit_bytes=limit
            ):
                self.interrupt(Outcome.LIMIT_REQUEST_BODY, f"limit {limit} bytes")
            await self._client.wait_gone()
            self.interrupt(Outcome.CLIENT_GONE)
        except ClientGoneError:
            self.interrupt(Outcome.CLIENT_GONE)
        except TimeoutError:
            self.interrupt(Outcome.CLIENT_TIMEOUT, f"no data for {self.limits.client_idle_time:g} s")
        except Exception as error:
            log.exception("invocation.failed", id=self.invoke.invocation_id)
            self.interrupt(Outcome.INTERNAL, repr(error))

    def _on_expired(self, outcome: Outcome, seconds: float) -> None:
        self.interrupt(outcome, f"limit {seconds:g} s")

    def _on_flood(self) -> None:
        self.interrupt(Outcome.LIMIT_LOG_OUTPUT, f"limit {self.limits.log_output} bytes")

    async def _conclude(self, verdict: Verdict) -> None:
        self._watchdog.stop()
        if self._usage_watch is not None:
            self._usage_watch.stop()
        self._clocks.state = "ending"
        if self._uplink is not None:
            self._uplink.cancel()
        report = None
        try:
            if verdict.outcome is not Outcome.OK:
                if self._worker is not None:
                    stop_worker(self._worker.handle, verdict.outcome)
                await self._end_calls()
                await tell_client(self._client, verdict, self.measured, self.limits.client_idle_time)
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

    async def _end_calls(self) -> None:
        """End reverse calls: at once after a failure, with the worker after a whole answer."""
        if self._calls is not None:
            await self._calls.close()

    async def _finish_worker(self, outcome: Outcome) -> Exited | None:
        if self._worker is None:
            return None
        well = outcome is Outcome.OK and self._verdict is None  # nothing has come too late to change the outcome
        if well and self._ready_again and self.keeper is not None:
            await self._end_calls()
            await self._worker.handle.wait_pid()
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

    def _fall_apart(self) -> None:
        """Let go of all that leads back to us, or it would stay until the garbage collector finds it."""
        self._clocks.calls = None
        del self._clocks, self._watchdog, self._usage_watch, self._calls, self._worker, self._task, self._uplink
        del self.output

    def _look_at_memory(self) -> None:
        usage = self._worker.usage() if self._worker is not None else None
        self.measured.memory_peak_bytes = usage.memory_peak_bytes if usage is not None else None

    def _figures(self, verdict: Verdict, report: Exited | None) -> Figures:
        exit_text = None
        if self._worker is not None:
            exit_text = "kept" if self._kept else describe_exit(report, self._worker.handle.child.failure)
        return self.measured.to_figures(
            verdict,
            invoke=self.invoke,
            rule=self.rule,
            plugin=self.runtime.name,
            output=self.output,
            report=report,
            pid=self.pid,
            exit_text=exit_text,
        )

"""What a worker and its threads say and hear: the request, its body, the answer, reverse calls.

How threads share the pipes is in `worker.pipes`.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from os import getpid
from time import monotonic
from typing import Final

from protocol import (
    INITIAL_CALL_CREDIT,
    INITIAL_CREDIT,
    MAX_DATA,
    MAX_OPEN_CALLS,
    Body,
    BodyEnd,
    Call,
    CallCancel,
    CallCredit,
    CallData,
    CallResult,
    Cancel,
    Credit,
    Invoke,
    Log,
    Message,
    ProtocolError,
    Ready,
    WorkerState,
)
from worker.pipes import Cancelled, NotTheWorkerError, Pipes

__all__ = ["Cancelled", "Channel", "NotTheWorkerError"]

CREDIT_STEP: Final = INITIAL_CREDIT // 4
"""Credit goes back in steps of at least so many bytes, not for every read."""

CALL_CREDIT_STEP: Final = INITIAL_CALL_CREDIT // 4
"""Likewise, for the answer of one call."""

LOOK_S: Final = 0.005
"""Seconds for which whoever sends pieces of the body takes for granted that nobody has cancelled."""

_CAN_CREDIT: Final = frozenset({WorkerState.INVOKED, WorkerState.RESPONDING})


class Channel(Pipes):
    """The worker's end of the two pipes."""

    def __init__(self) -> None:
        super().__init__()
        self._invoke: Invoke | None = None
        self._body: deque[bytes] = deque()
        self._body_complete = False
        self._owed_credit = 0
        self._looked = 0.0
        self._answers: dict[int, deque[CallResult]] = {}
        self._owed_call_credit: dict[int, int] = {}

    def receive(self) -> Invoke | None:
        """Wait for the request.

        Returns:
            None when there will be none: cancelled, or the supervisor has gone.
        """
        self._check_process()
        with self._lock:
            self._wait(lambda: self._invoke is not None)
            return self._invoke if self._cancel_reason is None else None

    def renew(self) -> bool:
        """Say READY again after an answer, unless calls are open; `receive` then waits for another request.

        Returns:
            Whether it was said.
        """
        self._check_process()
        with self._lock:
            self._read_all_nowait()
            if self._cancel_reason is not None or self._connection.calls.count:
                return False
            self._invoke = None
            self._body.clear()
            self._answers.clear()
            self._owed_call_credit.clear()
            self._enqueue(Ready())
            self._wait_sent()
            return True

    def read_body(self, size: int) -> bytes:
        """Wait for bytes of the request body and grant the supervisor room for as many more.

        Args:
            size: Most bytes to return, 1 or more.

        Returns:
            1..size bytes, or none at the end of the body.

        Raises:
            Cancelled: Nobody waits for the answer any more.
            RuntimeError: The answer has ended, and with it the transfer of the body.
        """
        self._check_process()
        with self._lock:
            self._read_all_nowait()
            self._wait(lambda: bool(self._body) or self._body_complete or self._finished())
            self._raise_if_cancelled()
            if not self._body:
                if not self._body_complete:
                    raise RuntimeError("the answer has ended: what is left of the request body cannot be read")
                return b""
            data = self._body.popleft()
            if len(data) > size:
                self._body.appendleft(data[size:])
                data = data[:size]
            self._grant(len(data))
            return data

    def send_chunk(self, data: bytes, *, more: bool = False) -> None:
        """Send a piece of the response body, waiting for credit.

        Args:
            data: 1..MAX_DATA bytes; sent in several messages where the credit is short.
            more: Another message follows at once, as in `send`.

        Raises:
            Cancelled: Nobody waits for the answer any more.
        """
        if getpid() != self._pid:
            self._check_process()  # which says no; many pieces come this way
        rest = data
        with self._lock:
            now = monotonic()
            if now - self._looked > LOOK_S:
                self._looked = now
                self._read_all_nowait()
            while rest:
                size = min(len(rest), MAX_DATA)
                if self._connection.send_window < size:
                    size = min(size, self._wait_for_window())
                if self._cancel_reason is not None:
                    raise Cancelled(self._cancel_reason)
                piece = rest[:size]  # nothing is copied where it is all
                self._enqueue(piece, more=more)
                if self._outgoing and not more:
                    self._wait_sent()
                rest = rest[len(piece) :]

    def send_log(self, message: Log) -> bool:
        """Send a log record, if the protocol still allows one; whether it does."""
        if not self.ours:
            return False
        with self._lock:
            try:
                self._enqueue(message)
            except ProtocolError:
                return False
            self._wait_sent()
            return True

    def open_call(self, kind: str, request: bytes) -> int:
        """Make a reverse call, waiting until all of its request has been sent.

        Args:
            kind: What is called.
            request: 1..MAX_CALL_BYTES bytes.

        Returns:
            The identifier, for `read_call` and `close_call`.

        Raises:
            Cancelled: Nobody waits for the answer any more.
            LocalProtocolError: There was an error, after which no call can be made.
        """
        self._check_process()
        view = memoryview(request)
        with self._lock:
            self._read_all_nowait()
            self._wait(lambda: self._connection.calls.count < MAX_OPEN_CALLS)
            self._raise_if_cancelled()
            first = view[: min(MAX_DATA, INITIAL_CALL_CREDIT)]
            call_id = self._connection.calls.next_id
            self._enqueue(Call(call_id=call_id, kind=kind, size=len(view), data=bytes(first)))
            self._answers[call_id] = deque()
            try:
                self._wait_sent()
                self._send_request(call_id, view[len(first) :])
                self._raise_if_cancelled()
            except BaseException:
                self.close_call(call_id)
                raise
            return call_id

    def read_call(self, call_id: int, timeout_s: float | None) -> CallResult | None:
        """Wait for the next piece of an answer.

        Args:
            call_id: From `open_call`.
            timeout_s: Longest wait in seconds; None for any.

        Returns:
            None when nothing has come in time.

        Raises:
            Cancelled: Nobody waits for the answer any more.
            LookupError: The call has been closed.
        """
        self._check_process()
        with self._lock:
            pieces = self._answers[call_id]
            self._read_all_nowait()
            self._wait(lambda: bool(pieces), timeout_s)
            self._raise_if_cancelled()
            if not pieces:
                return None
            piece = pieces.popleft()
            self._grant_call(call_id, len(piece.data) if piece.kind == "response" else 0)
            return piece

    def close_call(self, call_id: int) -> None:
        """Forget a call; tell the supervisor, if it is still at it."""
        if not self.ours:
            return
        with self._lock:
            self._owed_call_credit.pop(call_id, None)
            if self._answers.pop(call_id, None) is None:
                return
            call = self._connection.calls.find(call_id)
            if call is not None and not call.cancelled and self._cancel_reason is None:
                with suppress(ProtocolError):  # after an ERROR nothing is sent
                    self._enqueue(CallCancel(call_id=call_id))

    def _wait_for_window(self) -> int:
        """Look for more credit, and wait for it if there is none at all; how much there is now."""
        self._read_all_nowait()
        if not self._connection.send_window:
            self._wait_sent()  # nobody grants anything for what is held
            self._wait(lambda: self._connection.send_window > 0)
        return self._connection.send_window

    def _finished(self) -> bool:
        return self._connection.our_state in {WorkerState.ENDED, WorkerState.FAILED}

    def _send_request(self, call_id: int, rest: memoryview) -> None:
        """Send what is left of a request, as the supervisor has room; nothing more of it once there is an error."""
        while rest and (call := self._connection.calls.find(call_id)) is not None and not call.answered:
            self._wait(lambda call=call: call.request_window > 0 or call.answered)  # type: ignore[misc]  # bound at once
            size = min(len(rest), call.request_window, MAX_DATA)
            if self._cancel_reason is not None or call.answered:
                break
            self._enqueue(CallData(call_id=call_id, data=bytes(rest[:size])))
            self._wait_sent()
            rest = rest[size:]
        call = self._connection.calls.find(call_id)
        if rest and call is not None and self._cancel_reason is None:
            self._enqueue(CallCancel(call_id=call_id))

    def _grant(self, amount: int) -> None:
        self._owed_credit += amount
        if self._owed_credit < CREDIT_STEP or self._body_complete:
            return
        if self._connection.our_state in _CAN_CREDIT:
            credit = Credit(amount=self._owed_credit)
            self._owed_credit = 0
            self.send(credit)

    def _grant_call(self, call_id: int, amount: int) -> None:
        owed = self._owed_call_credit.get(call_id, 0) + amount
        call = self._connection.calls.find(call_id)
        if owed >= CALL_CREDIT_STEP and call is not None and not call.answered:
            with suppress(ProtocolError):  # after an ERROR nothing is sent
                self._enqueue(CallCredit(call_id=call_id, amount=owed))
            owed = 0
        self._owed_call_credit[call_id] = owed

    def _dispatch(self, message: Message) -> None:
        match message:
            case Body():
                self._body.append(message.data)
            case BodyEnd():
                self._body_complete = True
            case Invoke():
                self._invoke = message
                self._body.clear()
                self._owed_credit = 0
                self._body_complete = not message.has_body
            case Cancel():
                self._cancel(message.reason or "cancelled")
            case CallResult():
                self._take_answer(message)
            case _:
                pass  # CREDIT and CALL_CREDIT are the connection's

    def _take_answer(self, message: CallResult) -> None:
        pieces = self._answers.get(message.call_id)
        if pieces is not None:
            pieces.append(message)

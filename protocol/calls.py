"""Which reverse calls there are, how far each has come, and how much of each may be sent.

Theory of operation. A worker may have many calls going on. Each has two halves, a request in pieces and an answer in
pieces, and a window for each half, so that an answer that nobody reads holds up no other call.

A call is *open* from CALL on. Its request half ends with the last byte of the request, or with CALL_CANCEL; its answer
half with `end` or `error`. When both have ended the call is forgotten. Either half may end first: an error may answer a
request that is not complete, and the worker then says CALL_CANCEL in place of the rest.

Messages of the two sides cross, so what a worker says of a call may come when the supervisor has forgotten it. Only
CALL_CREDIT and CALL_CANCEL can: data cannot, because a call is kept until its request half has ended. Identifiers grow,
so a forgotten call can be told from one that never was. The other way nothing crosses: a call is forgotten by whoever
ends the second half, and the answer half is the supervisor's.

Rules of this file. Both sides keep the same table and apply the same checks, to what they send and to what they
receive. `apply` either changes the table or raises; sizes of messages were checked when they were made.
"""

from __future__ import annotations

from typing import Final, TypeAlias, final

from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
from protocol.errors import LocalProtocolError
from protocol.limits import INITIAL_CALL_CREDIT, MAX_CALL_BYTES, MAX_OPEN_CALLS
from protocol.states import Role

__all__ = ["CALL_MESSAGES", "CallMessage", "CallState", "CallTable"]

CallMessage: TypeAlias = Call | CallData | CallCredit | CallCancel | CallResult
CALL_MESSAGES: Final = (Call, CallData, CallCredit, CallCancel, CallResult)


@final
class CallState:
    """One open call.

    Attributes:
        unsent: Bytes of the request that have not been sent; 0 when it is complete or was cancelled.
        request_window: Bytes of the request that may be sent.
        answer_window: Bytes of the answer's items that may be sent.
        within_item: Bytes that were sent of an item that is not complete.
        cancelled: Whether the worker waits for no more of the answer.
        answered: Whether the answer is complete, or has failed.
    """

    __slots__ = ("answer_window", "answered", "cancelled", "request_window", "unsent", "within_item")

    def __init__(self, size: int) -> None:
        self.unsent = size
        self.request_window = INITIAL_CALL_CREDIT
        self.answer_window = INITIAL_CALL_CREDIT
        self.within_item = 0
        self.cancelled = False
        self.answered = False

    @property
    def over(self) -> bool:
        """Whether nothing of it can follow that matters."""
        return self.answered and self.unsent == 0


@final
class CallTable:
    """All open calls of one connection."""

    def __init__(self) -> None:
        self._open: dict[int, CallState] = {}
        self._last_id = -1

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def next_id(self) -> int:
        """An identifier for the next call."""
        return self._last_id + 1

    def find(self, call_id: int) -> CallState | None:
        """Return an open call; None when there is none with this identifier, or not any more."""
        return self._open.get(call_id)

    def apply(self, sender: Role, message: CallMessage) -> None:
        """Take note of a message.

        Raises:
            LocalProtocolError: It is illegal. Nothing has changed.
        """
        if isinstance(message, Call):
            self._begin(message)
            return
        call_id = message.call_id
        call = self._open.get(call_id)
        if call is None:
            late = isinstance(message, CallCredit) or (sender is Role.WORKER and isinstance(message, CallCancel))
            if call_id > self._last_id or not late:  # late is what may have crossed with the end of the call
                raise LocalProtocolError(f"{type(message).__name__}: there is no call {call_id}")
            return
        match message:
            case CallData():
                _send_request(call, len(message.data))
            case CallCancel():
                _cancel(call)
            case CallCredit():
                _grant(call, sender, message.amount)
            case _:
                _answer(call, message)
        if call.over:
            del self._open[call_id]

    def _begin(self, message: Call) -> None:
        if message.call_id <= self._last_id:
            raise LocalProtocolError(f"Call: identifier {message.call_id} after {self._last_id}")
        if len(self._open) >= MAX_OPEN_CALLS:
            raise LocalProtocolError(f"Call: {len(self._open)} calls are open, at most {MAX_OPEN_CALLS}")
        call = CallState(message.size)
        _send_request(call, len(message.data))
        self._open[message.call_id] = call
        self._last_id = message.call_id


def _send_request(call: CallState, size: int) -> None:
    if call.cancelled:
        raise LocalProtocolError("CallData: the call was cancelled")
    if size > call.unsent:
        raise LocalProtocolError(f"{size} bytes of a request of which {call.unsent} are left")
    if size > call.request_window:
        raise LocalProtocolError(f"{size} bytes of a request, the credit is {call.request_window}")
    call.unsent -= size
    call.request_window -= size


def _cancel(call: CallState) -> None:
    if call.cancelled:
        raise LocalProtocolError("CallCancel: the call was cancelled before")
    call.cancelled = True
    call.unsent = 0


def _grant(call: CallState, sender: Role, amount: int) -> None:
    window = call.request_window if sender is Role.SUPERVISOR else call.answer_window
    if window + amount > MAX_CALL_BYTES:
        raise LocalProtocolError(f"CallCredit: {window} + {amount} bytes, at most {MAX_CALL_BYTES} outstanding")
    if sender is Role.SUPERVISOR:
        call.request_window = window + amount
    else:
        call.answer_window = window + amount


def _answer(call: CallState, message: CallResult) -> None:
    if call.answered:
        raise LocalProtocolError("CallResult: the call was answered before")
    if message.kind != "response":
        if message.kind == "end" and call.within_item:
            raise LocalProtocolError(f"CallResult: an end after {call.within_item} bytes of an item")
        call.answered = True
        return
    size = len(message.data)
    if size > call.answer_window:
        raise LocalProtocolError(f"{size} bytes of an answer, the credit is {call.answer_window}")
    if call.within_item + size > MAX_CALL_BYTES:
        raise LocalProtocolError(f"an item of more than {MAX_CALL_BYTES} bytes")
    call.answer_window -= size
    call.within_item = call.within_item + size if message.more else 0

"""The messages of reverse calls: a request of the worker in pieces, and its answer in pieces, many at a time.

The pieces of a request together, and those of an item of an answer, are one value in the form of `protocol.values`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from protocol.checks import check_bool, check_bytes, check_int, check_token, check_word
from protocol.errors import LocalProtocolError
from protocol.limits import MAX_CALL_BYTES, MAX_DATA, MAX_ERROR_TEXT, MAX_ID, MAX_WORD

__all__ = ["CALL_RESULT_KINDS", "Call", "CallCancel", "CallCredit", "CallData", "CallResult"]

CALL_RESULT_KINDS: Final = frozenset({"response", "error", "end"})

_RESULT_SIZES: Final = {"response": (1, MAX_DATA), "error": (0, MAX_ERROR_TEXT), "end": (0, 0)}


@final
@dataclass(frozen=True, slots=True)
class Call:
    """Worker: a reverse call, that is a request of the endpoint to the service that hosts it.

    Attributes:
        call_id: Larger than that of every call before.
        kind: What is called.
        size: Bytes of the whole request, 1..MAX_CALL_BYTES.
        data: Its beginning, paid for with the call's credit; CALL_DATA has the rest.
    """

    call_id: int
    kind: str
    size: int
    data: bytes

    def __post_init__(self) -> None:
        check_int("call_id", self.call_id, 0, MAX_ID)
        check_token("kind", self.kind, MAX_WORD)
        check_int("size", self.size, 1, MAX_CALL_BYTES)
        check_bytes("data", self.data, 0, min(self.size, MAX_DATA))


@final
@dataclass(frozen=True, slots=True)
class CallData:
    """Worker: the next piece of the request of a call, 1..MAX_DATA bytes, paid for with the call's credit."""

    call_id: int
    data: bytes

    def __post_init__(self) -> None:
        check_int("call_id", self.call_id, 0, MAX_ID)
        check_bytes("data", self.data, 1, MAX_DATA)


@final
@dataclass(frozen=True, slots=True)
class CallCancel:
    """Worker: nobody waits for the rest of this answer. An end or an error of the call still follows."""

    call_id: int

    def __post_init__(self) -> None:
        check_int("call_id", self.call_id, 0, MAX_ID)


@final
@dataclass(frozen=True, slots=True)
class CallResult:
    """Supervisor: a part of the answer to a call.

    Attributes:
        call_id: The call.
        kind: `response`: a piece of an item of the answer. `error`: the call has failed. `end`: it is over.
        data: Piece of an item, 1..MAX_DATA bytes, paid for with the call's credit; a text in UTF-8 for `error`, of
            at most MAX_ERROR_TEXT; nothing for `end`.
        more: Whether the next piece belongs to the same item.
    """

    call_id: int
    kind: str
    data: bytes
    more: bool

    def __post_init__(self) -> None:
        check_int("call_id", self.call_id, 0, MAX_ID)
        check_word("kind", self.kind, CALL_RESULT_KINDS)
        low, high = _RESULT_SIZES[self.kind]
        check_bytes("data", self.data, low, high)
        check_bool("more", self.more)
        if self.more and self.kind != "response":
            raise LocalProtocolError(f"more: nothing follows after {self.kind}")


@final
@dataclass(frozen=True, slots=True)
class CallCredit:
    """Either side: the peer may send that many more bytes of one call, 1..MAX_CALL_BYTES."""

    call_id: int
    amount: int

    def __post_init__(self) -> None:
        check_int("call_id", self.call_id, 0, MAX_ID)
        check_int("amount", self.amount, 1, MAX_CALL_BYTES)

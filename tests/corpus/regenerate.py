"""Writes the corpus: `python -m tests.corpus.regenerate`. Says what each stream is about, and what comes out of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgpack

from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
from protocol.codec import TYPES, encode_message
from protocol.control import encode_control
from protocol.frames import PREFACE, frame_header
from protocol.limits import (
    INITIAL_CALL_CREDIT,
    INITIAL_CREDIT,
    MAX_CALL_BYTES,
    MAX_CREDIT,
    MAX_DATA,
    MAX_ID,
    MAX_LAYERS,
    MAX_LIMITS_BYTES,
    MAX_OPEN_CALLS,
    MAX_PATH,
    MAX_WORD,
)
from protocol.messages import (
    Body,
    BodyEnd,
    Cancel,
    Chunk,
    Credit,
    End,
    Error,
    Log,
    Message,
    Ready,
    Response,
)
from protocol.states import Role
from tests.protocol.support import INVOKE, PEER, changed, message_to_json
from tests.protocol.test_control import EXAMPLES as CONTROL_EXAMPLES
from tests.protocol.test_control import FORK_SLOT, LEAST, PREPARE_WORKER, ROOTLESS

if TYPE_CHECKING:
    from protocol.control import ControlMessage

FOLDER: Final = Path(__file__).parent
S, W = Role.SUPERVISOR, Role.WORKER
Replies = tuple[tuple[int, Message], ...]

READY: Final = Ready()
HEAD: Final = Response(200, ((b"Content-Type", b"text/plain"),))
ASKED: Final[Replies] = ((1, INVOKE),)
"""What a supervisor sends, when the worker's first message is READY."""
SPARE: Final[Replies] = ((0, READY),)
"""What a worker sends before it hears anything."""
CALLING: Final[Replies] = (
    (0, READY),
    (1, Call(0, "llm", 1, b"\x80")),
    (1, Call(1, "llm", 1, b"\x80")),
    (1, Call(2, "llm", 2, b"\x81")),
)
"""What a worker sends that makes three calls."""
MOST: Final = replace(PREPARE_WORKER, sources=("a" * MAX_PATH, "é"), limits={"": 0, "memory": MAX_ID}, debug=True)
ALL_OFF: Final = replace(FORK_SLOT, off=("a" * MAX_WORD,) * MAX_LAYERS)
LOG: Final = Log(1700000000.25, "info", "endpoint", "hello")


class Case(NamedTuple):
    """One stream or datagram, and what comes out of it."""

    about: str
    data: bytes
    messages: tuple[Message | ControlMessage, ...] = ()
    receiver: Role | None = S
    replies: Replies = ()
    error: str | None = None


def stream(sender: Role, *messages: Message) -> bytes:
    """The preface and the frames of messages, without a look at states."""
    return PREFACE + b"".join(encode_message(sender, message) for message in messages)


def frame(code: int, payload: bytes) -> bytes:
    """A frame with any type and payload."""
    return frame_header(code, len(payload)) + payload


def from_worker(about: str, *messages: Message, replies: Replies = ASKED) -> Case:
    """A valid stream of a worker."""
    return Case(about, stream(W, *messages), messages, S, replies)


def to_worker(about: str, *messages: Message, replies: Replies = SPARE) -> Case:
    """A valid stream of a supervisor."""
    return Case(about, stream(S, *messages), messages, W, replies)


VALID: Final[dict[str, Case]] = {
    "nothing": Case("A stream that ended before its preface.", b""),
    "preface": Case("A stream of a preface alone.", PREFACE),
    "worker-kept": from_worker(
        "Two whole answers, one after another; the credit of the second is whole again.",
        READY,
        HEAD,
        *(Chunk(b"c" * MAX_DATA),) * (INITIAL_CREDIT // MAX_DATA),
        End(),
        LOG,
        READY,
        LOG,
        HEAD,
        *(Chunk(b"c" * MAX_DATA),) * (INITIAL_CREDIT // MAX_DATA),
        End(),
        replies=((1, INVOKE), (2 + INITIAL_CREDIT // MAX_DATA + 3, INVOKE)),
    ),
    "worker-small": from_worker("A whole answer.", READY, HEAD, Chunk(b"quack"), End()),
    "worker-no-body": from_worker("An answer without a body.", READY, Response(204, ()), End()),
    "worker-logs": from_worker(
        "Log records wherever they may stand.", READY, LOG, HEAD, LOG, Chunk(b"x"), LOG, End(), LOG
    ),
    "worker-early-log": from_worker("A log record before anything else.", LOG, LOG, READY, LOG, replies=((4, INVOKE),)),
    "worker-cookies": from_worker(
        "Repeated fields stay apart and in order.",
        READY,
        Response(200, ((b"Set-Cookie", b"a=1"), (b"X-Latin", b"\xe9"), (b"set-cookie", b"b=2"))),
        End(),
    ),
    "worker-full-chunk": from_worker("A chunk of the largest size.", READY, HEAD, Chunk(b"c" * MAX_DATA), End()),
    "worker-calls": from_worker(
        "Reverse calls: whole, in pieces, two at a time, cancelled, after the answer.",
        READY,
        Call(0, "llm", 4, b"\x81\xa1a\xc0"),
        Call(7, "storage", 6, b"\x81\xa1k"),
        HEAD,
        CallData(7, b"\xa1"),
        CallCredit(0, 9),
        CallData(7, b"v\xc0"),
        CallCancel(0),
        End(),
        LOG,
        Call(8, "storage", 1, b"\x80"),
    ),
    "worker-calls-crossing": from_worker(
        "Credit and cancellations of calls that are over already, as they may cross with the end.",
        READY,
        Call(0, "llm", 1, b"\x80"),
        Call(1, "llm", 2, b"\x81"),
        CallCredit(0, 1),
        CallCancel(0),
        CallCancel(1),
        HEAD,
        End(),
        replies=(
            *ASKED,
            (2, CallResult(0, "end", b"", more=False)),
            (3, CallResult(1, "error", b"no", more=False)),
        ),
    ),
    "worker-call-large": from_worker(
        "A request as large as its credit.",
        READY,
        Call(0, "upload_file", MAX_DATA + 1, b"c" * MAX_DATA),
        CallData(0, b"c"),
        replies=((1, INVOKE), (2, CallCredit(0, 1))),
    ),
    "worker-credit": from_worker("Credit for the body.", READY, Credit(65536), Credit(1), HEAD, Credit(9), End()),
    "worker-cut": from_worker("A worker that died within its answer, but between frames.", READY, HEAD),
    "worker-cut-ready": from_worker("A worker that died while it waited.", READY, LOG, replies=()),
    "worker-cut-early": from_worker("A worker that died before it was ready.", LOG, replies=()),
    "worker-error-early": from_worker("An error before anything else.", Error("internal", "limit", ""), replies=()),
    "worker-error-load": from_worker(
        "A source that cannot be imported.", LOG, Error("load", "SyntaxError", ""), replies=()
    ),
    "worker-error-late": from_worker("An error within the body.", READY, HEAD, Error("body", "x", "Traceback")),
    "worker-error-crossing": from_worker(
        "An error that crosses with INVOKE.",
        READY,
        Error("load", "SyntaxError", ""),
        replies=ASKED,
    ),
    "worker-every-code": from_worker("An error with text beyond ASCII.", READY, Error("not_found", "é😀\0", "")),
    "supervisor-patient": to_worker("A request whose worker may go on.", changed(INVOKE, after_response_s=2.5)),
    "supervisor-get": to_worker("A request without a body.", changed(INVOKE, has_body=False)),
    "supervisor-post": to_worker("A request with a body.", INVOKE, Body(b"a=1"), Body(b"&b=2"), BodyEnd()),
    "supervisor-cancel": to_worker("Cancelled within the body.", INVOKE, Body(b"a"), Cancel("client.gone")),
    "supervisor-cancel-spare": to_worker("Cancelled before it was asked.", Cancel("")),
    "supervisor-cancel-early": to_worker("Cancelled while it imports.", Cancel("shutdown"), replies=()),
    "supervisor-call-result": to_worker(
        "Answers to reverse calls: items whole and in pieces, an end, an error within an item.",
        INVOKE,
        CallResult(0, "response", b"\x81\xa1a\xc0", more=False),
        CallResult(1, "response", b"\x81", more=True),
        CallCredit(2, 5),
        CallResult(0, "response", b"\xc0", more=False),
        CallResult(0, "end", b"", more=False),
        CallResult(1, "error", "kaputt é".encode(), more=False),
        Credit(1),
        CallResult(2, "end", b"", more=False),
        replies=CALLING,
    ),
    "supervisor-credit": to_worker("Credit for the answer.", INVOKE, Credit(1), BodyEnd(), Credit(2**20)),
    "supervisor-null-fields": to_worker(
        "Everything that may be missing is.",
        changed(INVOKE, remote_addr=None, content_length=None, values=(), settings={}, headers=(), query=b""),
    ),
    "supervisor-settings": to_worker(
        "Plain data of every form.",
        changed(
            INVOKE,
            settings={
                "": None,
                "yes": True,
                "ints": [0, 127, 128, 2**64 - 1, -1, -32, -33, -(2**63)],
                "floats": [0.5, -1e300],
                "text": "é😀",
                "bytes": b"\0\xff",
                "lists": [[], [[]], {}],
                "long": "a" * 300,
            },
        ),
    ),
    "long-forms": Case(
        "Longer forms of msgpack than needed.",
        stream(W, READY)
        + frame(0x48, b"\xdd\0\0\0\1\xd3" + (7).to_bytes(8, "big"))
        + frame(0x46, b"\xdc\0\4\xca\x3f\xc0\0\0\xd9\4info\xda\0\0\xdb\0\0\0\1x"),
        (READY, Credit(7), Log(1.5, "info", "", "x")),
        S,
        ASKED,
    ),
    **{
        f"control-{type(message).__name__}": Case("A control datagram.", encode_control(message), (message,), None)
        for message in CONTROL_EXAMPLES
    },
    "control-PrepareWorker-least": Case("The least that a worker is for.", encode_control(LEAST), (LEAST,), None),
    "control-PrepareWorker-most": Case("Names and limits at their limits.", encode_control(MOST), (MOST,), None),
    "control-ForkSlot-off": Case("Layers at their limits.", encode_control(ALL_OFF), (ALL_OFF,), None),
    "control-ForkZygote-rootless": Case("A zygote without host ids.", encode_control(ROOTLESS), (ROOTLESS,), None),
}


def after_head(about: str, error: str, data: bytes) -> Case:
    """Something illegal after READY and RESPONSE."""
    return Case(about, stream(W, READY, HEAD) + data, (READY, HEAD), S, ASKED, error)


def first(about: str, error: str, data: bytes) -> Case:
    """Something illegal in place of READY."""
    return Case(about, PREFACE + data, (), S, ASKED, error)


def damaged(code: int, about: str, error: str, value: object) -> Case:
    """A payload that is msgpack, but not what it should be."""
    data = frame(code, msgpack.packb(value))
    return first(about, error, data) if code == 0x41 else after_head(about, error, data)


def controlled(about: str, error: str, *values: object) -> Case:
    """A control datagram that is msgpack, but not what it should be."""
    return Case(about, msgpack.packb(values), receiver=None, error=error)


def out_of_turn(receiver: Role, replies: Replies, *messages: Message) -> Case:
    """Messages of which the last is illegal."""
    last = type(messages[-1]).__name__
    data = stream(PEER[receiver], *messages)
    return Case(f"{last} out of turn.", data, messages[:-1], receiver, replies, f"{last} is illegal while")


ONE: Final = Call(3, "llm", 2, b"\x81")
MORE: Final = CallData(3, b"x")


def calling(about: str, error: str, *messages: Message, replies: Replies = ()) -> Case:
    """Messages of a worker about calls, of which the last is illegal."""
    return Case(about, stream(W, READY, *messages), (READY, *messages[:-1]), S, (*ASKED, *replies), error)


def answering(about: str, error: str, *messages: Message) -> Case:
    """Messages of a supervisor about calls, of which the last is illegal."""
    return Case(about, stream(S, INVOKE, *messages), (INVOKE, *messages[:-1]), W, CALLING, error)


FULL: Final = tuple(Chunk(b"c" * MAX_DATA) for _ in range(INITIAL_CREDIT // MAX_DATA))

INVALID: Final[dict[str, Case]] = {
    "preface-http": Case("Another protocol.", b"HTTP/1.1 200 OK\r\n", error="byte 0 of the preface"),
    "preface-version-0": Case("A version that never was.", b"EEP\0", error="version"),
    "preface-version-2": Case("An old version.", b"EEP\2" + stream(W, READY)[4:], error="version"),
    "preface-version-4": Case("The version before.", b"EEP\4" + stream(W, READY)[4:], error="got 4, expected 5"),
    "preface-version-6": Case("A version of the future.", b"EEP\6" + stream(W, READY)[4:], error="version"),
    "preface-cut": Case("An end within the preface.", b"EE", error="ended within a frame"),
    "header-cut": after_head("An end within a header.", "after 4 bytes", b"\0\0\0\1"),
    "payload-cut": after_head("An end within a payload.", "after 6 bytes", b"\0\0\0\2\x44\x90"),
    "type-unknown": after_head("A type that does not exist.", "0x7f", frame(0x7F, b"\x90")),
    "type-zero": first("A stream of zeros.", "0x00", bytes(64)),
    "type-of-the-supervisor": after_head("A type of the other direction.", "0x05", frame(0x05, b"\x91\1")),
    "type-of-the-worker": Case("The same, the other way.", PREFACE + frame(0x44, b"\x90"), receiver=W, error="0x44"),
    **{
        f"length-{code:02x}": Case(
            "A length over the limit of the type; the payload does not follow.",
            PREFACE + frame_header(code, row.limit_bytes + 1),
            receiver=PEER[role],
            error=f"at most {row.limit_bytes}",
        )
        for role, rows in TYPES.items()
        for code, row in rows.items()
    },
    "length-largest": first("The largest length.", "payload of 4294967295 bytes", b"\xff\xff\xff\xff\x41"),
    "payload-empty": after_head("A payload of nothing.", "Log", frame(0x46, b"")),
    "payload-two-values": after_head("A payload of two values.", "End", frame(0x44, b"\x90\x90")),
    "payload-unused-byte": after_head("The byte that msgpack does not use.", "End", frame(0x44, b"\xc1")),
    "payload-map": damaged(0x46, "A map in place of the array.", "Log", {"level": "info"}),
    "payload-nil": damaged(0x44, "Nil in place of the array.", "expected an array", None),
    "payload-ext": damaged(0x47, "An ext type.", "Call", [0, "k", 1, msgpack.ExtType(5, b"x")]),
    "payload-timestamp": damaged(0x47, "A timestamp.", "Call", [0, "k", 1, msgpack.Timestamp(1, 0)]),
    "payload-not-utf8": after_head("A text that is not UTF-8.", "Call", frame(0x47, b"\x94\0\xa1\xff\1\xc4\0")),
    "payload-surrogate": after_head("A surrogate.", "Call", frame(0x47, b"\x94\0\xa3\xed\xa0\x80\1\xc4\0")),
    "payload-deep": Case(
        "Arrays nested 100 deep.",
        stream(W, READY) + frame(0x42, b"\x92\xcc\xc8" + b"\x91" * 100 + b"\xc0"),
        (READY,),
        S,
        ASKED,
        "Response",
    ),
    "payload-bomb": Case(
        "Arrays that claim to be long.",
        stream(W, READY) + frame(0x42, b"\x92\xcc\xc8" + b"\xdd\0\1\0\0" * 99),
        (READY,),
        S,
        ASKED,
        "Response",
    ),
    "ready-of-version-2": damaged(0x41, "A report.", "Ready", [{"python": "3.11.7"}]),
    "ready-report-empty": damaged(0x41, "A report of nothing.", "Ready", [{}]),
    "locked-of-version-2": first("A message that was.", "CallData", frame(0x49, msgpack.packb([{"seccomp": True}]))),
    "call-of-version-3": damaged(0x47, "A request that is no bytes.", "3 fields, expected 4", [0, "k", None]),
    "fields-missing": damaged(0x46, "A field too few.", "3 fields, expected 4", [1.5, "info", ""]),
    "fields-extra": damaged(0x44, "A field too many.", "End", [1]),
    "field-type": damaged(0x46, "Bytes in place of text.", "message: expected str", [1.5, "info", "", b"x"]),
    "field-bool": damaged(0x48, "A bool in place of an int.", "amount: expected int", [True]),
    "field-int-time": damaged(0x46, "An int in place of a float.", "time: expected float", [1, "info", "", ""]),
    "field-nan": damaged(0x46, "A time that is no number.", "time: nan", [float("nan"), "info", "", ""]),
    "field-level": damaged(0x46, "A level that does not exist.", "level: expected one of", [1.5, "loud", "", ""]),
    "field-code": damaged(0x45, "An error code that does not exist.", "code: expected one of", ["bad", "", ""]),
    "field-log-long": damaged(0x46, "A log message over its limit.", "16385 bytes", [1.5, "info", "", "a" * 16385]),
    "field-call-id": damaged(0x47, "A negative identifier.", "call_id: -1", [-1, "k", 1, b"x"]),
    "call-size-zero": damaged(0x47, "A request of nothing.", "size: 0", [0, "k", 0, b""]),
    "call-size-large": damaged(0x47, "A request over the limit.", "size: ", [0, "k", MAX_CALL_BYTES + 1, b"x"]),
    "call-size-short": damaged(0x47, "More than announced.", "2 bytes, allowed are 0..1", [0, "k", 1, b"xx"]),
    "call-kind": damaged(0x47, "A kind with a space.", "token", [0, "a b", 1, b"x"]),
    "call-data-empty": damaged(0x49, "A piece of nothing.", "0 bytes", [0, b""]),
    "call-credit-zero": damaged(0x4A, "Credit of nothing.", "amount: 0", [0, 0]),
    "call-id-twice": calling("An identifier again.", "identifier 3 after 3", ONE, ONE),
    "call-id-smaller": calling("A smaller identifier.", "identifier 2 after 3", ONE, changed(ONE, call_id=2)),
    "call-unknown-data": calling("Data of a call that is not there.", "no call 3", CallData(3, b"x")),
    "call-unknown-credit": calling("Credit of one that never was.", "no call 4", ONE, CallCredit(4, 1)),
    "call-unknown-cancel": calling("The end of one that never was.", "no call 4", ONE, CallCancel(4)),
    "call-overlong": calling("More than announced, later.", "of which 1 are left", ONE, CallData(3, b"xx")),
    "call-data-after-request": calling("More than the request.", "of which 0", ONE, MORE, MORE),
    "call-data-after-cancel": calling("Data after the cancellation.", "cancelled", ONE, CallCancel(3), MORE),
    "call-cancel-twice": calling("Cancelled twice.", "cancelled before", ONE, CallCancel(3), CallCancel(3)),
    "call-data-after-both": calling(
        "Data of a call that is over.",
        "no call 3",
        ONE,
        MORE,
        MORE,
        replies=((3, CallResult(3, "end", b"", more=False)),),
    ),
    "call-overrun": calling(
        "One byte more than the credit.",
        "the credit is 0",
        Call(0, "k", INITIAL_CALL_CREDIT + 1, b"c" * MAX_DATA),
        *(CallData(0, b"c" * MAX_DATA),) * (INITIAL_CALL_CREDIT // MAX_DATA - 1),
        CallData(0, b"x"),
    ),
    "call-credit-overflow": calling("More credit than may be.", "outstanding", ONE, CallCredit(3, MAX_CALL_BYTES)),
    "call-too-many": calling(
        "More calls than may be open.",
        f"at most {MAX_OPEN_CALLS}",
        *(Call(number, "k", 1, b"") for number in range(MAX_OPEN_CALLS + 1)),
    ),
    "answer-unknown": answering("An answer to nobody.", "no call 9", CallResult(9, "end", b"", more=False)),
    "answer-twice": answering("An end twice.", "no call 0", *(CallResult(0, "end", b"", more=False),) * 2),
    "answer-after-error": answering(
        "More after an error.",
        "answered before",
        CallResult(2, "error", b"", more=False),
        CallResult(2, "response", b"x", more=False),
    ),
    "answer-cut-item": answering(
        "An end within an item.",
        "after 1 bytes of an item",
        CallResult(0, "response", b"x", more=True),
        CallResult(0, "end", b"", more=False),
    ),
    "answer-overrun": answering(
        "One byte more than the credit.",
        "the credit is 0",
        *(CallResult(0, "response", b"c" * MAX_DATA, more=True),) * (INITIAL_CALL_CREDIT // MAX_DATA),
        CallResult(0, "response", b"x", more=False),
    ),
    "answer-credit-unknown": answering(
        "Credit for nobody.", "no call 99", CallResult(0, "end", b"", more=False), CallCredit(99, 1)
    ),
    "chunk-empty": damaged(0x43, "A chunk of nothing.", "0 bytes", [b""]),
    "chunk-text": damaged(0x43, "A chunk of text.", "expected bytes", ["x"]),
    "chunk-large": damaged(0x43, "A chunk over the limit.", "65537 bytes", [bytes(MAX_DATA + 1)]),
    "credit-zero": damaged(0x48, "Credit of nothing.", "amount: 0", [0]),
    "credit-negative": damaged(0x48, "Negative credit.", "amount: -1", [-1]),
    "credit-overflow": damaged(0x48, "More credit than may be outstanding.", "outstanding", [MAX_CREDIT]),
    "credit-overrun": Case(
        "One byte more than the credit.",
        stream(W, READY, HEAD, *FULL, Chunk(b"x")),
        (READY, HEAD, *FULL),
        S,
        ASKED,
        "the credit is 0",
    ),
    **{
        f"head-{name}": Case(about, stream(W, READY) + frame(0x42, msgpack.packb(value)), (READY,), S, ASKED, error)
        for name, about, error, value in (
            ("status-100", "A provisional status.", "status: 100", [100, []]),
            ("status-600", "A status that HTTP does not have.", "status: 600", [600, []]),
            ("text", "Fields of text.", "bytes", [200, [["A", "b"]]]),
            ("triple", "A field of three.", "tuples", [200, [[b"A", b"b", b"c"]]]),
            ("newline", "A value with a line end.", "holds", [200, [[b"A", b"b\r\nX: y"]]]),
            ("name", "A name with a space.", "token", [200, [[b"A b", b""]]]),
            ("name-empty", "A name of nothing.", "token", [200, [[b"", b""]]]),
            ("many", "More fields than allowed.", "1001 fields", [200, [[b"A", b""]] * 1001]),
        )
    },
    "turn-response-before-ready": out_of_turn(S, (), HEAD),
    "turn-response-after-log": out_of_turn(S, (), LOG, HEAD),
    "turn-end-first": out_of_turn(S, (), End()),
    "turn-ready-after-invoke": out_of_turn(S, ASKED, READY, READY),
    "turn-ready-after-head": out_of_turn(S, ASKED, READY, HEAD, READY),
    "turn-ready-after-error": out_of_turn(S, (), Error("internal", "", ""), READY),
    "turn-response-before-invoke": out_of_turn(S, (), READY, HEAD),
    "turn-call-before-ready": out_of_turn(S, (), Call(0, "k", 1, b"")),
    "turn-credit-before-ready": out_of_turn(S, (), Credit(1)),
    "turn-ready-of-one-that-is-not-kept": Case(
        "READY after END, which INVOKE did not ask for.",
        stream(W, READY, HEAD, End(), READY),
        (READY, HEAD, End()),
        S,
        ((1, changed(INVOKE, keep=False)),),
        error="not to be kept",
    ),
    "turn-ready-with-a-call": Case(
        "READY after END while a call is open.",
        stream(W, READY, HEAD, Call(0, "llm", 1, b"\x80"), End(), READY),
        (READY, HEAD, Call(0, "llm", 1, b"\x80"), End()),
        S,
        ASKED,
        error="1 calls are open",
    ),
    "turn-ready-before-end": out_of_turn(S, ASKED, READY, HEAD, Chunk(b"x"), READY),
    "turn-call-after-ready-again": out_of_turn(S, ASKED, READY, HEAD, End(), READY, Call(0, "k", 1, b"")),
    "turn-end-after-ready-again": out_of_turn(S, ASKED, READY, HEAD, End(), READY, End()),
    "turn-ready-twice": out_of_turn(S, (), READY, READY),
    "turn-chunk-before-head": out_of_turn(S, ASKED, READY, Chunk(b"x")),
    "turn-head-twice": out_of_turn(S, ASKED, READY, HEAD, HEAD),
    "turn-end-before-head": out_of_turn(S, ASKED, READY, End()),
    "turn-chunk-after-end": out_of_turn(S, ASKED, READY, HEAD, End(), Chunk(b"x")),
    "turn-error-after-end": out_of_turn(S, ASKED, READY, HEAD, End(), Error("raised", "", "")),
    "turn-credit-after-end": out_of_turn(S, ASKED, READY, HEAD, End(), Credit(1)),
    "turn-log-after-error": out_of_turn(S, ASKED, READY, Error("raised", "", ""), LOG),
    "turn-call-after-error": out_of_turn(S, ASKED, READY, Error("raised", "", ""), Call(0, "k", 1, b"")),
    "turn-call-before-invoke": out_of_turn(S, (), READY, Call(0, "k", 1, b"")),
    "turn-invoke-before-ready": out_of_turn(W, (), INVOKE),
    "turn-invoke-after-cancel": out_of_turn(W, SPARE, Cancel(""), INVOKE),
    "turn-cancel-twice": out_of_turn(W, SPARE, Cancel(""), Cancel("")),
    "turn-invoke-twice": out_of_turn(W, SPARE, INVOKE, INVOKE),
    "turn-body-before-invoke": out_of_turn(W, SPARE, Body(b"x")),
    "turn-body-after-end": out_of_turn(W, SPARE, INVOKE, BodyEnd(), Body(b"x")),
    "turn-credit-before-invoke": out_of_turn(W, SPARE, Credit(1)),
    "turn-body-after-cancel": out_of_turn(W, SPARE, INVOKE, Cancel(""), Body(b"x")),
    "control-empty": Case("A datagram of nothing.", b"", receiver=None, error="payload"),
    "control-no-type": Case("An array of nothing.", b"\x90", receiver=None, error="unknown type"),
    "control-type": Case("A type that does not exist.", b"\x91\x0a", receiver=None, error="unknown type"),
    "control-lend-nothing": controlled("A folder without a name.", "plugin_root: 0 bytes", 8, "", True),
    "control-fields": Case("A field too few.", b"\x91\x01", receiver=None, error="0 fields"),
    "control-bool": controlled("A bool for an int.", "expected int", 3, True),
    "control-worker-of-version-4": controlled("With its task.", "4 fields, expected 1", 1, 7, [], {}, False),
    "control-worker-source-empty": controlled("A source without a name.", "sources: 0 bytes", 7, [""], {}, False),
    "control-worker-source-bytes": controlled("A source of bytes.", "sources: ", 7, [b"a.py"], {}, False),
    "control-worker-source-text": controlled("A source in place of all.", "sources: ", 7, "a.py", {}, False),
    "control-worker-sources": controlled("More than allowed.", "sources: 257 entries", 7, ["a"] * 257, {}, False),
    "control-worker-limit-negative": controlled("A negative limit.", "limits: -1", 7, [], {"memory": -1}, False),
    "control-worker-limit-large": controlled("Beyond 63 bits.", "limits: ", 7, [], {"a": MAX_ID + 1}, False),
    "control-worker-limit-bool": controlled("A bool.", "limits: expected int", 7, [], {"memory": True}, False),
    "control-worker-limit-float": controlled("No int.", "limits: expected int", 7, [], {"cpu_time": 0.5}, False),
    "control-worker-limit-nil": controlled("Nothing.", "limits: expected int", 7, [], {"memory": None}, False),
    "control-worker-limits-list": controlled("No names.", "limits: expected dict", 7, [], [1], False),
    "control-worker-limits-large": controlled("Long.", "limits: ", 7, [], {"a" * MAX_LIMITS_BYTES: 1}, False),
    "control-worker-debug": controlled("An int for a bool.", "debug: expected bool", 7, [], {}, 0),
    "control-slot-offs": controlled("More layers than allowed.", "off: 65 entries", 5, 7, "s", 0, ["a"] * 65),
    "control-slot-off-long": controlled("A name over its limit.", "off: 65 bytes", 5, 7, "s", 0, ["a" * 65]),
    "control-slot-off-nested": controlled("A list of a list.", "off: expected str", 5, 7, "s", 0, [["seccomp"]]),
    "control-zygote-of-version-1": controlled("No block of ids.", "4 fields, expected 11", 2, 1, "p", [], []),
    "control-zygote-root": controlled("Ids from 0 on.", "first_id: 0", 2, 1, "p", [], [], [], "/p", "", [], 0, 1, []),
    "control-zygote-beyond": controlled(
        "Too many ids.", "first_id: ", 2, 1, "p", [], [], [], "/p", "", [], 2, 2**32 - 2, []
    ),
    "control-zygote-ids": controlled("Fewer ids than none.", "ids: -1", 2, 1, "p", [], [], [], "/p", "", [], 1, -1, []),
    "control-zygote-off": controlled(
        "A layer that is no text.", "off: ", 2, 1, "p", [], [], [], "/p", "", [], 1, 1, [1]
    ),
    "control-zygote-pid": controlled("A process id.", "2 fields, expected 1", 0x41, 100, {}),
    "control-forked-pid": controlled("A process id.", "2 fields, expected 1", 0x42, 7, 101),
    "control-slot-number": controlled("A negative number.", "number: -1", 5, 7, "s", -1, []),
    "control-slot-off": controlled("A layer without a name.", "off: 0 bytes", 5, 7, "s", 0, [""]),
    "control-slot-fields": controlled("A field too few.", "3 fields, expected 4", 5, 7, "s", 0),
    "control-slot-report": controlled("A list for a report.", "report: expected dict", 0x45, ["seccomp"]),
    "control-two": Case("Two messages at once.", b"\x91\x04\x91\x04", receiver=None, error="payload"),
    "control-large": Case("More than a datagram may have.", bytes(65537), receiver=None, error="at most 65536"),
}
_LONG: Final = 256


def shorten(value: object) -> object:
    """Write long uniform texts and bytes as one piece and a count."""
    if isinstance(value, dict):
        if value.keys() == {"hex"} and len(value["hex"]) > _LONG:
            piece, count = value["hex"][:2], len(value["hex"]) // 2
            assert piece * count == value["hex"]
            return {"repeat": [{"hex": piece}, count]}
        return {key: shorten(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shorten(item) for item in value]
    if isinstance(value, str) and len(value) > _LONG:
        assert value[0] * len(value) == value
        return {"repeat": [value[0], len(value)]}
    return value


def describe(case: Case) -> str:
    """The JSON twin of a case."""
    twin: dict[str, object] = {"about": case.about, "kind": "control" if case.receiver is None else "stream"}
    if case.receiver is not None:
        twin["receiver"] = case.receiver.value
        twin["replies"] = [[after, shorten(message_to_json(message))] for after, message in case.replies]
    twin["messages"] = [shorten(message_to_json(message)) for message in case.messages]
    twin["error"] = case.error
    return json.dumps(twin, indent=1, ensure_ascii=False) + "\n"


def contents() -> dict[Path, bytes]:
    """Every file of the corpus, by its path below the folder."""
    files = {}
    for folder, cases in (("valid", VALID), ("invalid", INVALID)):
        for name, case in cases.items():
            files[Path(folder, f"{name}.bin")] = case.data
            files[Path(folder, f"{name}.json")] = describe(case).encode()
    return files


def main() -> None:
    """Write what is new and remove what is no longer there."""
    files = contents()
    for path in [*FOLDER.glob("*/*.bin"), *FOLDER.glob("*/*.json")]:
        if path.relative_to(FOLDER) not in files:
            path.unlink()
    for path, data in files.items():
        (FOLDER / path).write_bytes(data)


if __name__ == "__main__":
    main()

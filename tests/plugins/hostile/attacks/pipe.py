"""Attacks on the supervisor by the worker's own pipe: whatever is said there, only this request suffers.

Sources: docs/protocol.md; RFC 9112 sections 5, 6 and 11 for what is smuggled.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import stat
import struct
import subprocess
import sys
import threading
import time

import msgpack
from werkzeug import Response

from attacks import attack, bare, twin
from attacks.deeds import deed

READY, RESPONSE, CHUNK, END, ERROR, LOG, CALL, CREDIT, CALL_DATA, CALL_CREDIT, CALL_CANCEL = range(0x41, 0x4C)
LOCKED = 0x49  # of version 2
BROKEN = ("worker.protocol",)
CRASHED = ("worker.crashed",)
SILENT = ("timeout.first_byte",)


def find_ends() -> tuple[int, int]:
    """The descriptors of the protocol: (read, write)."""
    found = {}
    for number in range(3, 1100):
        with contextlib.suppress(OSError):
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                found[fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE] = number
    return found[os.O_RDONLY], found[os.O_WRONLY]


def _say(*pieces: bytes, to: int | None = None) -> None:
    writes = find_ends()[1] if to is None else to
    data = memoryview(b"".join(pieces))
    os.set_blocking(writes, True)
    while data:
        data = data[os.write(writes, data) :]


def _raw(kind: int, payload: bytes, length: int | None = None) -> bytes:
    return struct.pack(">IB", len(payload) if length is None else length, kind) + payload


def frame(kind: int, *fields: object) -> bytes:
    return _raw(kind, msgpack.packb(list(fields)))


def _head(*headers: tuple[bytes, bytes], status: object = 200) -> bytes:
    return frame(RESPONSE, status, [list(pair) for pair in headers])


def _asks(request: bytes, number: int = 1, kind: str = "storage") -> bytes:
    """A call with anything for a request, up to 64 KiB."""
    return frame(CALL, number, kind, len(request), request)


def _call(number: int, kind: str = "storage") -> bytes:
    return _asks(msgpack.packb({"opt": "exist", "key": "k"}), number, kind)


_NUMBERS = itertools.count(1000)


def _wait() -> None:
    while True:
        time.sleep(60)


FIRST = frame(CHUNK, b"first")
DONE = frame(END)
REST = FIRST + DONE


def _def(
    name: str, tries: str, data: bytes, ends: tuple[str, ...], *, stays: bool = True, like: str = "honest"
) -> None:
    """Make a deed that says something once, and waits or ends; `like` is its twin."""

    def say(_):
        _say(data)
        print("said", flush=True)
        if stays:
            _wait()
        os._exit(0)

    say.__name__ = name
    say.__module__ = __name__
    deed(tries, proof=twin(like), ends=ends)(say)


_LIKE = {LOG: "honest_log", CALL: "honest_call", CREDIT: "honest_credit", ERROR: "forged_load_error"}
"""Twins of what begins with such a frame. Others are like `honest`, or like `honest_head` where the head is at stake."""


def _like(name: str, data: bytes) -> str:
    if name.startswith(("header_", "name_", "short_", "long_")):
        return "honest_head"
    return _LIKE.get(data[4], "honest")


for _name, _tries, _data in (
    ("honest", "Answers by itself, as it is due", _head() + REST),
    ("honest_head", "Likewise, with headers", _head((b"X", b"a"), (b"Content-Length", b"5")) + REST),
    ("honest_log", "Logs, and answers", frame(LOG, 1.0, "info", "l", "m") + _head() + REST),
    ("honest_call", "Makes a call, and answers", _call(1) + _head() + REST),
    ("call_bomb", "Asks with maps nested twenty thousand deep", _asks(b"\x81\xa1x" * 20_000) + _head() + REST),
    (
        "call_wide",
        "Asks with as many maps as there is room for",
        _asks(b"\xdc\xff\xf0" + b"\x80" * 65520) + _head() + REST,
    ),
    ("call_claims", "Asks with four billion entries", _asks(b"\xdd\xff\xff\xff\xff") + _head() + REST),
    ("call_extension", "Asks with a type of its own", _asks(msgpack.packb(msgpack.ExtType(1, b"x"))) + _head() + REST),
    ("call_no_map", "Asks with a list", _asks(b"\x90") + _head() + REST),
    ("call_unknown", "Asks for what there is not", _call(1, "encrypt") + _head() + REST),
    ("call_forbidden", "Asks for what its manifest does not allow", _call(1, "llm") + _head() + REST),
    ("call_unfinished", "Asks half a question", frame(CALL, 1, "storage", 1 << 24, b"\x81") + _head() + REST),
    ("call_unheard", "Asks, and waits for no answer", b"".join(map(_call, range(128))) + _head() + REST),
    ("honest_credit", "Gives credit, and answers", frame(CREDIT, 1) + _head() + REST),
    ("within_credit", "Sends all that it may", _head() + frame(CHUNK, b"x" * 65536) * 4 + DONE),
    ("without_body", "Answers without a body", _head(status=204) + DONE),
):
    _def(_name, _tries, _data, (), stays=False)

for _name, _tries, _data in (
    ("garbage", "Says what is no message", b"\xff" * 4096),
    ("zeros", "Says nothing, at length", bytes(4096)),
    ("preface_again", "Begins once more", b"EEP\x04" + _head() + REST),
    ("locked", "Says what holds of its isolation, as workers once did", frame(LOCKED, {"seccomp": {"holds": True}})),
    ("ready_again", "Says once more that it is ready", frame(READY)),
    ("ready_with_lies", "Says what it is made of, as workers once did", frame(READY, {"python": "2.7"})),
    ("commands", "Says what only the supervisor says", frame(0x06, "cancelled")),
    ("control", "Says what zygotes are told", frame(0x81, 1)),
    ("unknown", "Says what nobody has ever said", frame(0x7F)),
    ("chunk_first", "Begins with the body", FIRST),
    ("end_first", "Ends before it has begun", DONE),
    ("empty_frame", "Sends a message that is empty", _raw(RESPONSE, b"")),
    ("no_array", "Sends a map for a message", _raw(RESPONSE, msgpack.packb({"status": 200}))),
    ("more_fields", "Sends more than a message has", frame(END, 1)),
    ("fewer_fields", "Sends less than a message has", frame(RESPONSE, 200)),
    ("trailing", "Sends two messages as one", _raw(END, msgpack.packb([]) * 2)),
    ("largest", "Announces four gigabytes", _raw(CHUNK, b"x" * 64, 0xFFFF_FFFF)),
    ("too_large", "Announces one byte too much", _raw(CHUNK, b"x" * 64, 65536 + 129)),
    ("large_head", "Announces a head of megabytes", _raw(RESPONSE, b"x" * 64, 8 << 20)),
    ("array_bomb", "Announces four billion entries", _raw(RESPONSE, b"\xdd\xff\xff\xff\xff")),
    ("map_bomb", "Announces four billion pairs", _raw(RESPONSE, b"\x92\xcc\xc8\xdf\xff\xff\xff\xff")),
    ("text_bomb", "Announces a text of four gigabytes", _raw(LOG, b"\x94\xdb\xff\xff\xff\xff")),
    ("bytes_bomb", "Announces bytes, four billion of them", _raw(CHUNK, b"\x91\xc6\xff\xff\xff\xff")),
    ("nested", "Nests arrays a thousand deep", _raw(RESPONSE, b"\x92\xcc\xc8" + b"\x91" * 1000 + b"\xc0")),
    ("nested_maps", "Nests maps a hundred thousand deep", _raw(RESPONSE, b"\x92\xcc\xc8" + b"\x81\xa1x" * 50_000)),
    ("wide", "Sends many values", _raw(RESPONSE, b"\x92\xcc\xc8\xdd\x00\x01\x86\xa0" + b"\xc0" * 100_000)),
    ("keys", "Sends keys that are no texts", _raw(RESPONSE, b"\x92\xcc\xc8" + msgpack.packb({1: 1, b"x": 2}))),
    ("extension", "Sends a type of its own", frame(RESPONSE, 200, msgpack.ExtType(1, b"x"))),
    ("timestamp", "Sends a time", frame(RESPONSE, 200, msgpack.Timestamp(1))),
    (
        "no_text",
        "Sends a text that is none",
        _raw(LOG, b"\x94\xcb" + struct.pack(">d", 1) + b"\xa4info\xa1l\xa2\xff\xfe"),
    ),
    ("not_a_number", "Sends a time that is no number", frame(LOG, float("nan"), "info", "l", "m")),
    ("loud", "Logs at a level that there is not", frame(LOG, 1.0, "loud", "l", "m")),
    ("reserved_byte", "Sends the byte that msgpack never uses", _raw(RESPONSE, b"\xc1")),
    ("no_credit", "Gives credit of nothing", frame(CREDIT, 0)),
    ("debt", "Gives credit below nothing", frame(CREDIT, -1)),
    ("endless_credit", "Gives credit without end", frame(CREDIT, 2**62)),
    ("much_credit", "Gives credit in small coin, without end", frame(CREDIT, 1 << 20) * 20),
    ("empty_chunk", "Sends a piece of nothing", _head() + frame(CHUNK, b"")),
    ("text_chunk", "Sends a piece of text", _head() + frame(CHUNK, "x")),
    ("call_again", "Makes two calls of one name", _call(1) * 2),
    ("call_before", "Makes a call that was before", _call(2) + _call(1)),
    ("call_forged_data", "Goes on with a call that is not there", frame(CALL_DATA, 7, b"x")),
    ("call_forged_credit", "Takes the answer to a call that is not there", frame(CALL_CREDIT, 7, 1)),
    ("call_forged_end", "Ends a call that is not there", frame(CALL_CANCEL, 7)),
    ("call_result", "Answers a call itself", _call(1) + frame(0x05, 1, "end", b"", False)),
    ("call_overlong", "Asks more than it said", frame(CALL, 1, "storage", 2, b"x") + frame(CALL_DATA, 1, b"xx")),
    ("call_of_nothing", "Asks nothing", frame(CALL, 1, "storage", 0, b"")),
    ("call_too_large", "Announces a question that is too large", frame(CALL, 1, "storage", (64 << 20) + 1, b"x")),
    (
        "call_beyond_credit",
        "Asks more than it was allowed",
        frame(CALL, 1, "nobody", 1 << 20, b"x" * 65536) + frame(CALL_DATA, 1, b"x"),
    ),
    (
        "call_much_credit",
        "Takes more than there may be",
        frame(CALL, 1, "storage", 2, b"x") + frame(CALL_CREDIT, 1, 64 << 20),
    ),
    (
        "call_cancelled_twice",
        "Ends a call twice",
        frame(CALL, 1, "storage", 2, b"x") + frame(CALL_CANCEL, 1) * 2,
    ),
    (
        "calls_open",
        "Has more calls than there may be",
        b"".join(frame(CALL, number, "storage", 2, b"x") for number in range(129)),
    ),
    ("two_heads", "Answers twice", _head() + _head()),
    ("two_heads_late", "Answers twice, in the middle", _head() + FIRST + _head()),
    ("unknown_error", "Fails in a way that there is not", frame(ERROR, "surprise", "m", "")),
    ("short_length", "Sends more than it said", _head((b"Content-Length", b"3")) + REST),
    ("long_length", "Sends less than it said", _head((b"Content-Length", b"9")) + REST),
    ("status_text", "Has a status that is no number", _head(status="200")),
    ("status_bool", "Has a status that is true", _head(status=True)),
    ("status_float", "Has a status with a fraction", _head(status=200.5)),
    *(
        (f"status_{value}", f"Has the status {value}", _head(status=value))
        for value in (-1, 0, 100, 101, 103, 199, 600, 999, 2**63)
    ),
    ("header_newline", "Puts a header into another", _head((b"X", b"a\r\nSet-Cookie: b=c"))),
    ("header_line_feed", "Likewise, with half a line end", _head((b"X", b"a\nSet-Cookie: b=c"))),
    ("header_return", "Likewise, with the other half", _head((b"X", b"a\rSet-Cookie: b=c"))),
    ("header_folded", "Goes on in the next line, as was done of old", _head((b"X", b"a\r\n b"))),
    ("header_null", "Has a zero in a header", _head((b"X", b"a\0b"))),
    ("header_body", "Has the whole answer in a header", _head((b"X", b"a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"))),
    ("name_newline", "Puts a header into a name", _head((b"X: a\r\nY", b"b"))),
    ("name_colon", "Has a colon in a name", _head((b"X:", b"b"))),
    ("name_space", "Has a space behind a name", _head((b"Content-Length ", b"5"))),
    ("name_empty", "Has a header without a name", _head((b"", b"b"))),
    ("name_latin", "Has a name that is not of ASCII", _head((b"X\xe4", b"b"))),
    ("many_headers", "Has headers without end", _head(*((b"x%d" % number, b"") for number in range(5000)))),
    ("large_headers", "Has headers without measure", _head(*((b"x%d" % number, b"x" * 4000) for number in range(69)))),
):
    _def(_name, _tries, _data, BROKEN, like=_like(_name, _data))

for _name, _value in (
    ("plus", b"+5"),
    ("minus", b"-5"),
    ("hexadecimal", b"0x5"),
    ("list_of_two", b"5, 6"),
    ("underscore", b"0_5"),
    ("of_no_digits", b"five"),
    ("other_digits", "٥".encode()),
    ("huge", b"9" * 40),
    ("empty", b""),
):
    _data = _head((b"Content-Length", _value)) + REST
    _def(f"length_{_name}", f"Has the length {_value!r}", _data, (), stays=False, like="honest_head")

_half = _raw(RESPONSE, b"\x92", 100)
_def("half_a_frame", "Begins a message and is silent", _half, SILENT, like="in_pieces")
_def("half_a_length", "Begins a length and is silent", b"\0\0", SILENT, like="in_pieces")
_def("half_and_end", "Begins a message and ends", _half, BROKEN, stays=False, like="in_pieces")
_def("forged_load_error", "Says that it could not be loaded", frame(ERROR, "load", "forged", ""), ("endpoint.load",))
_def("forged_cancel", "Says that it was cancelled", frame(ERROR, "cancelled", "x", ""), CRASHED)

for _name, _tries, _data in (
    ("after_end", "Goes on after the end", _head() + REST + FIRST + _head(status=500) + b"\xff" * 4096),
    ("two_ends", "Ends twice", _head() + REST + DONE),
    ("error_after_end", "Fails after the end", _head() + REST + frame(ERROR, "raised", "x", "")),
):
    _def(_name, _tries, _data, ())

for _name, _tries, _data in (
    ("answer_in_body", "Answers within its answer", _head((b"Content-Length", b"5")) + REST),
    (
        "chunked",
        "Says that it frames by itself",
        _head((b"Transfer-Encoding", b"chunked")) + frame(CHUNK, b"5\r\nfirst\r\n0\r\n\r\n") + DONE,
    ),
    (
        "chunked_and_length",
        "Likewise, and with a length",
        _head((b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")) + REST,
    ),
    (
        "odd_chunked",
        "Likewise, in a way that few understand",
        _head((b"Transfer-Encoding", b"x, chunked"), (b"transfer-encoding", b"identity")) + REST,
    ),
    (
        "upgrade",
        "Wants another protocol",
        _head((b"Upgrade", b"h2c"), (b"Connection", b"upgrade, content-length")) + REST,
    ),
    (
        "keeps_open",
        "Decides over the connection",
        _head((b"Connection", b"keep-alive"), (b"Keep-Alive", b"timeout=9999"), (b"Proxy-Connection", b"close")) + REST,
    ),
    ("trailer", "Announces headers at the end", _head((b"Trailer", b"X-Late")) + REST),
    (
        "other_invocation",
        "Says that it is another invocation",
        _head((b"X-Invocation-Id", b"0"), (b"x-invocation-id", b"1")) + REST,
    ),
    ("same_lengths", "Says its length twice", _head((b"Content-Length", b"5"), (b"Content-Length", b"5")) + REST),
    ("spaces", "Has its length between spaces", _head((b"Content-Length", b" 5 ")) + REST),
    ("different_lengths", "Has two lengths", _head((b"Content-Length", b"3"), (b"Content-Length", b"5")) + REST),
    ("list_of_same_lengths", "Has its length twice in one header", _head((b"Content-Length", b"5, 5")) + REST),
):
    _def(_name, _tries, _data, (), stays=False, like="honest_head")

for _status in (204, 205, 304):
    _data = _head((b"Content-Length", b"5"), status=_status) + REST
    _def(f"body_of_{_status}", f"Has a body with the status {_status}", _data, BROKEN, like="without_body")


@deed("Says its answer byte by byte", proof=twin("honest"))
def in_pieces(_):
    for byte in _head() + REST:
        _say(bytes([byte]))
    os._exit(0)


@deed("Sends more than it was allowed, to a client that takes nothing", proof=twin("within_credit"), ends=BROKEN)
def beyond_credit(_):
    _say(_head())
    while True:
        _say(frame(CHUNK, b"x" * 65536))


@deed("Logs without end", proof=twin("honest_log"), ends=("limit.log_output",))
def logs(_):
    while True:
        _say(frame(LOG, 1.0, "info", "l", "x") * 1024)


@deed("Gives credit without end", proof=twin("honest_credit"), ends=BROKEN)
def credits(_):
    while True:
        _say(frame(CREDIT, 64) * 1024)


@deed("Makes calls without end, and reads no answer", proof=twin("honest_call"), ends=BROKEN)
def calls(_):
    while True:
        _say(*map(_call, itertools.islice(_NUMBERS, 256)))


@deed("Makes calls without end, and reads every answer", proof=twin("honest_call"), ends=BROKEN)
def calls_read(_):
    reads, _ = find_ends()
    os.set_blocking(reads, True)
    while True:
        _say(*map(_call, itertools.islice(_NUMBERS, 16)))
        os.read(reads, 1 << 20)


@deed("Takes calls back as soon as they are made, without end", proof=twin("honest_call"), ends=BROKEN)
def calls_taken_back(_):
    while True:
        numbers = itertools.islice(_NUMBERS, 64)
        _say(*(frame(CALL, number, "storage", 9, b"x") + frame(CALL_CANCEL, number) for number in numbers))


@deed("Sends single bytes without end", proof=twin("in_pieces"), ends=("timeout.wall",))
def tiny_chunks(_):
    _say(_head())
    while True:
        _say(frame(CHUNK, b"x") * 1000)


@deed("Closes the pipe that it speaks by", proof=twin("moves_pipe"), ends=CRASHED)
def closes_writing(_):
    os.close(find_ends()[1])
    _wait()


@deed("Closes the pipe that it hears by", proof=twin("answers_deaf"), ends=SILENT)
def closes_reading(_):
    os.close(find_ends()[0])
    print("said", flush=True)
    _wait()


@deed("Closes the pipe that it hears by, and answers", proof=twin("honest"))
def answers_deaf(_):
    reads, writes = find_ends()
    os.close(reads)
    _say(_head() + REST, to=writes)
    os._exit(0)


@deed("Puts the pipe to another number, and closes it under the worker", proof=twin("honest"))
def moves_pipe(_):
    _, writes = find_ends()
    other = os.dup(writes)
    os.close(writes)
    os.write(other, _head() + REST)
    os._exit(0)


@deed("Writes its output into the pipe", proof=twin("moves_pipe"), ends=BROKEN)
def output_into_pipe(_):
    os.dup2(find_ends()[1], 1)
    os.write(1, b"printed\n" * 1000)
    _wait()


@deed("Has a child answer for it, with the pipes of the worker", proof=twin("child_answers"), ends=CRASHED)
def child_without_pipe(_):
    _, writes = find_ends()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            _say(_head(), REST, to=writes)
        os._exit(0)
    os.waitpid(child, 0)
    os._exit(0)


@deed("Has a child answer for it, with a pipe that was put to another number", proof=twin("honest"))
def child_answers(_):
    writes = os.dup(find_ends()[1])
    child = os.fork()
    if child == 0:
        _say(_head(), REST, to=writes)
        os._exit(0)
    os.waitpid(child, 0)
    os._exit(0)


@deed("Has a child answer before it does so itself", proof=twin("child_answers"), ends=BROKEN)
def two_answer(_):
    writes = os.dup(find_ends()[1])
    child = os.fork()
    if child == 0:
        _say(_head(), to=writes)
        os._exit(0)
    os.waitpid(child, 0)
    return Response("second")


@deed("Ends, and has a child speak on", proof=twin("child_answers"), ends=CRASHED)
def child_speaks_on(_):
    writes = os.dup(find_ends()[1])
    spoken, speaks = os.pipe()
    if os.fork() == 0:
        os.setsid()
        while True:
            _say(frame(LOG, 1.0, "info", "l", "x"), to=writes)
            os.write(speaks, b"x")
            time.sleep(0.01)
    os.read(spoken, 1)
    os._exit(0)


@deed("Has two threads speak at once, in halves", proof=twin("within_credit"), ends=BROKEN)
def two_voices(_):
    _say(_head())
    data = frame(CHUNK, b"x" * 65536)

    def speak() -> None:
        while True:
            _say(data)

    threads = [threading.Thread(target=speak) for _ in range(2)]
    for thread in threads:
        thread.start()
    _wait()


@attack("Starts a program that gets the pipes", proof=bare())
def program_gets_pipes(_):
    """Descriptors above 2 are not handed on; outside, the tests hand some down that are."""
    script = "import os\nfor n in range(3, 1100):\n try: os.fstat(n); print(n)\n except OSError: pass"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, close_fds=False, text=True)
    return f"descriptors {done.stdout.split()}" if done.stdout.strip() else None

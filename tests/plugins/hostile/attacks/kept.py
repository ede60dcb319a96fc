"""Attacks by a worker that is kept for another request of its hook: between two requests, and on the later one.

A deed of the first kind answers, and strikes in a thread as soon as its worker has said that it is ready again; `struck`
on its output says that it has. It ends then, where it can, so that who may do that much is seen to be kept.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import msgpack
from werkzeug import Response

from attacks import limits, twin
from attacks.deeds import deed
from attacks.pipe import (
    CALL,
    CALL_CANCEL,
    CHUNK,
    CREDIT,
    DONE,
    ERROR,
    FIRST,
    LOG,
    READY,
    REST,
    _call,
    _half,
    _head,
    _say,
    find_ends,
    frame,
)

MISBEHAVED = ("misbehaved",)
QUIET = twin("waits")
MOST_S = 30
"""Each ends by itself then."""

LULL_S = 0.3
"""Between the word that it is ready and the strike: it is waiting by then, in all likelihood."""

MORE = limits(memory="512 MiB", cpu_time="1m", cpu_share=2, log_output="64 MiB", processes=512)
KEPT: list[object] = []
MIB = 1 << 20


def _find_channel() -> object:
    """The worker's own channel, among the variables of who has called."""
    at = sys._getframe()
    while at is not None:
        channel = at.f_locals.get("channel")
        if hasattr(channel, "renew"):
            return channel
        at = at.f_back
    raise LookupError("no frame has it")


def _when_ready(strike: Callable[[], object]) -> Response:
    """Answer, and strike once READY has been said again."""
    channel, ready = _find_channel(), threading.Event()
    renew = channel.renew

    def renewed() -> bool:
        said = renew()
        if said:
            ready.set()
        return said

    def wait() -> None:
        ready.wait()
        time.sleep(LULL_S)
        del channel.renew
        strike()
        with contextlib.suppress(OSError):
            os.write(1, b"struck\n")

    channel.renew = renewed
    threading.Thread(target=wait, daemon=True).start()
    return Response("answered")


def _def_waiting(name: str, tries: str, strike: Callable[[], object], ends: tuple[str, ...], proof=QUIET) -> None:
    """Make a deed that answers, and strikes while its worker waits."""

    def answer(_):
        return _when_ready(strike)

    answer.__name__ = name
    answer.__module__ = __name__
    deed(tries, proof=proof, ends=ends)(answer)


def _count() -> None:
    begun, deadline = time.process_time(), time.monotonic() + MOST_S
    while time.process_time() - begun < 1.5 and time.monotonic() < deadline:
        sum(range(1000))


def _count_in_children() -> None:
    for _ in range(3):
        if os.fork() == 0:
            _count()
            os._exit(0)
    for _ in range(3):
        os.wait()


def _grow() -> None:
    memory = mmap.mmap(-1, 96 * MIB)
    for _ in range(96):
        memory.write(b"x" * MIB)
    KEPT.append(memory)
    time.sleep(0.5)


def _grow_in_children() -> None:
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            _grow()
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def _print() -> None:
    for _ in range(40):
        os.write(1, b"noise " * 1700 + b"\n")


def _log() -> None:
    for _ in range(4):
        _say(frame(LOG, 1.0, "info", "l", "x") * 1024)


def _fork_and_fork() -> None:
    """A bomb: all that there may be at a time, and each counts."""
    end, first = time.monotonic() + MOST_S, os.fork()
    if first == 0:
        os.setsid()
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                os.fork()
        os._exit(0)
    os.waitpid(first, 0)


def _deafen() -> None:
    os.close(find_ends()[0])


_def_waiting("waits", "Does nothing", lambda: None, ())
_def_waiting("says_little", "Prints a line", lambda: os.write(1, b"a line\n"), ())

for _name, _tries, _data in (
    ("garbage", "Says what is no message", b"\xff" * 4096),
    ("ready_again", "Says once more that it is ready", frame(READY)),
    ("end_again", "Ends what has ended", DONE),
    ("answers_early", "Answers the next request before it comes", _head() + REST),
    ("half_a_frame", "Begins a message, for the next answer to go on with", _half),
    ("half_a_length", "Begins a length", b"\0\0"),
    ("fails", "Says that it has failed", frame(ERROR, "raised", "x", "")),
    ("credit", "Gives credit for a body that there is not", frame(CREDIT, 1)),
    ("calls", "Makes a reverse call in nobody's name", _call(1)),
    ("ends_a_call", "Ends a call that is not there", frame(CALL_CANCEL, 1)),
):
    _def_waiting(_name, _tries, lambda data=_data: _say(data), MISBEHAVED)

_def_waiting("exits", "Ends", lambda: os._exit(0), MISBEHAVED)
_def_waiting("kills_itself", "Kills itself", lambda: os.kill(os.getpid(), signal.SIGKILL), MISBEHAVED)
_def_waiting("closes_pipe", "Closes the pipe that it speaks by", lambda: os.close(find_ends()[1]), MISBEHAVED)

for _name, _tries, _strike, _ends in (
    ("prints", "Prints without end", _print, ("limit.log_output",)),
    ("logs", "Logs without end", _log, ("limit.log_output",)),
    ("counts", "Counts", _count, ("timeout.cpu",)),
    ("counts_in_children", "Counts in children", _count_in_children, ("timeout.cpu", "limit.memory")),
    ("grows", "Takes memory", _grow, ("limit.memory", "misbehaved")),
    ("grows_in_children", "Takes memory in children", _grow_in_children, ("limit.memory", "misbehaved")),
):
    _def_waiting(_name, _tries, _strike, _ends, MORE)

_def_waiting(
    "forks", "Forks, and so do its children", _fork_and_fork, ("timeout.cpu", "limit.memory", "misbehaved"), QUIET
)


def _def_forged(name: str, tries: str, data: bytes, ends: tuple[str, ...]) -> None:
    """Make a deed that says all of an answer by itself, and more, before the worker does."""

    def answer(_):
        _say(data)
        return Response("second")

    answer.__name__ = name
    answer.__module__ = __name__
    deed(tries, proof=QUIET, ends=ends)(answer)


BROKEN = ("worker.protocol",)
OPEN_CALL = frame(CALL, 1, "storage", 2, b"x")

for _name, _tries, _data, _ends in (
    ("forged_ready", "Says that it is ready before the end", frame(READY), BROKEN),
    ("forged_ready_late", "Says that it is ready within its answer", _head() + FIRST + frame(READY), BROKEN),
    ("forged_turn", "Says answer and readiness, and then answers", _head() + REST + frame(READY), ("ok",)),
    ("forged_turns", "Says that it is ready twice", _head() + REST + frame(READY) * 2, ("ok",)),
    ("forged_answers", "Answers twice, with readiness between", (_head() + REST + frame(READY)) * 2, ("ok",)),
    ("forged_call", "Says that it is ready with a call open", OPEN_CALL + _head() + REST + frame(READY), ("ok",)),
    ("goes_on", "Goes on after the end", _head() + REST + FIRST + frame(READY), ("ok",)),
):
    _def_forged(_name, _tries, _data, _ends)


@deed("Takes later requests for itself, and answers them", proof=QUIET)
def takes_requests(_):
    """By the pipes alone, so that the worker never hears of them."""

    def take() -> None:
        reads, writes = find_ends()
        os.set_blocking(reads, True)
        while os.read(reads, 1 << 16):
            _say(_head() + frame(CHUNK, b"forged") + DONE + frame(READY), to=writes)

    def steal() -> bool:
        _say(frame(READY))
        take()
        return False

    _find_channel().renew = steal
    return Response("answered")


@deed("Speaks before a later answer of its worker has begun", proof=QUIET)
def speaks_before_answers(_):
    channel = _find_channel()
    receive = channel.receive

    def received():
        invoke = receive()
        _say(frame(CHUNK, b"from another request"))
        return invoke

    channel.receive = received
    return Response("answered")


@deed("Speaks in the middle of a later answer of its worker", proof=QUIET)
def speaks_into_answers(_):
    channel = _find_channel()
    send_chunk = channel.send_chunk

    def sent(*given, **named):
        _say(frame(CHUNK, b"from another request"))
        return send_chunk(*given, **named)

    def patch() -> None:
        channel.send_chunk = sent

    return _when_ready(patch)


@deed("Makes a reverse call by the session of a request that is over", proof=QUIET)
def calls_late(_):
    channel = _find_channel()

    def call() -> None:
        try:
            channel.open_call("storage", msgpack.packb({"opt": "exist", "key": "k"}))
            os.write(1, b"got a call\n")
        except BaseException as error:
            os.write(1, f"refused: {error}\n".encode())

    return _when_ready(call)


@deed("Uses most of what it may, each time", proof=QUIET)
def uses_most(target):
    begun, deadline = time.process_time(), time.monotonic() + MOST_S
    while time.process_time() - begun < target["seconds"] and time.monotonic() < deadline:
        sum(range(1000))
    for _ in range(target["lines"]):
        print("x" * 1000, flush=True)
    return Response("done")


@deed("Takes a part of what it may, and keeps it for the next request", proof=QUIET)
def hoards(target):
    """All of its memory is written to."""
    KEPT.append(bytearray(b"x") * target["bytes"])
    return Response(str(len(KEPT)))


@deed("Leaves what wants to stay: threads, children that ignore signals, a daemon", proof=QUIET)
def stays(_):
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    for _ in range(3):
        threading.Thread(target=threading.Event().wait).start()
    for lead in (lambda: None, os.setsid):
        if os.fork() == 0:
            lead()
            while True:
                time.sleep(60)
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                time.sleep(60)
        os._exit(0)
    os.waitpid(middle, 0)
    return Response("answered")


@deed("Stops itself, and never hears of a request", proof=QUIET, ends=("timeout.first_byte",))
def stops(_):
    return _when_ready(lambda: os.kill(os.getpid(), signal.SIGSTOP))

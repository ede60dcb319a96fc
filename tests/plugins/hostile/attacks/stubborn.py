"""Workers that do not want to end, or end in ways that nobody expects.

A deed says `begun` on its output when it has become stubborn.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import gc
import os
import signal
import sys
import threading
import time

from werkzeug import Response

from attacks import bare, limits
from attacks.calls import call, control, libc
from attacks.deeds import deed

__all__ = ["NAME"]

STAYS = limits(first_byte_time="2m", idle_time="2m", wall_time="2m", cancel_grace_time="1m")
"""With these it goes on after the client has gone and was cancelled."""

ENDS = bare()
"""It ends its own request; outside there is nobody to notice."""

OUTLIVES = bare()
"""Outside, what it has started outlives it."""

NAME = "sandbox-left"
"""Name of the processes that are left behind."""

SLOW = ("timeout.first_byte",)
CRASH = ("worker.crashed",)
KEPT: list[object] = []


def _begun() -> None:
    os.write(1, b"begun\n")


def _for_ever() -> None:
    _begun()
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)


def _ignore_all() -> None:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)


@deed("Ignores every signal that can be ignored", proof=STAYS, ends=SLOW)
def ignores_signals(_):
    _ignore_all()
    _for_ever()


@deed("Blocks every signal that can be blocked", proof=STAYS, ends=SLOW)
def blocks_signals(_):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    _for_ever()


@deed("Takes every signal for a reason to go on", proof=STAYS, ends=SLOW)
def handles_signals(_):
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, lambda *_: None)
    _for_ever()


@deed("Is interrupted all the time, by itself", proof=STAYS, ends=SLOW)
def storm_of_signals(_):
    asleep = False

    def interrupt(*_) -> None:
        nonlocal asleep
        if asleep:  # and not between two sleeps, where nothing would catch it
            asleep = False
            raise KeyboardInterrupt

    _begun()
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    while True:
        with contextlib.suppress(BaseException):
            while True:
                asleep = True
                time.sleep(60)


@deed("Stops itself", proof=STAYS, ends=SLOW)
def stops_itself(_):
    _begun()
    os.kill(os.getpid(), signal.SIGSTOP)
    _for_ever()


@deed("Stops itself by a child, which stops too", proof=STAYS, ends=SLOW)
def stops_all(_):
    _begun()
    worker = os.getpid()
    if os.fork() == 0:
        while True:
            os.kill(worker, signal.SIGSTOP)
            os.kill(os.getpid(), signal.SIGSTOP)
    _for_ever()


@deed("Sleeps in C code that holds the interpreter's lock", proof=STAYS, ends=SLOW)
def sleeps_in_c(_):
    _begun()
    ctypes.PyDLL(None).sleep(600)


@deed("Waits for a child in a way that no signal but one interrupts", proof=STAYS, ends=SLOW)
def waits_in_the_kernel(_):
    """The parent of a vfork is in the state D until the child has ended or executed something."""
    _begun()
    clone_vfork = 0x4000
    if call("clone", clone_vfork | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        while True:
            libc.pause()
    _for_ever()


@deed("Ends its main thread, and goes on in another", proof=STAYS, ends=SLOW)
def headless(_):
    threading.Thread(target=_for_ever).start()
    libc.pthread_exit(None)


@deed("Never begins with its body", proof=STAYS, ends=SLOW)
def silent_body(_):
    def body():
        _for_ever()
        yield b""

    return Response(body())


@deed("Yields nothing, very often", proof=STAYS, ends=SLOW)
def empty_body(_):
    def body():
        _begun()
        while True:
            time.sleep(0.001)
            yield b""

    return Response(body())


@deed("Raises an error whose text never comes", proof=STAYS, ends=SLOW)
def endless_error(_):
    class EndlessError(Exception):
        def __str__(self) -> str:
            _for_ever()

    raise EndlessError


@deed("Returns a response whose head never comes", proof=STAYS, ends=SLOW)
def endless_head(_):
    class Endless(Response):
        def get_wsgi_headers(self, environ):
            _for_ever()

    return Endless("x")


@deed("Pauses for ever in the middle of its body", proof=STAYS, ends=("timeout.idle",))
def pausing_body(_):
    def body():
        yield b"begun"
        _for_ever()

    return Response(body())


@deed("Goes on for ever, and does not let itself be closed", proof=STAYS, ends=("timeout.wall",))
def endless_body(_):
    _begun()

    class Body:
        def __iter__(self):
            return self

        def __next__(self):
            time.sleep(0.02)
            return b"begun"

        def close(self):
            _for_ever()

    return Response(Body())


@deed("Answers, and then does not come to an end: closing its body", proof=STAYS)
def endless_close(_):
    class Body:
        def __iter__(self):
            return iter([b"answered"])

        def close(self):
            _for_ever()

    return Response(Body(), headers={"Content-Length": "8"})


@deed("Answers, and then does not come to an end: in a hook", proof=STAYS)
def endless_hook(_):
    response = Response("answered")
    response.call_on_close(_for_ever)
    return response


@deed("Answers, and would like to stay: when its objects go, and when the interpreter ends", proof=ENDS)
def last_words(_):
    class Clinging:
        def __del__(self):
            _for_ever()

    KEPT.append(Clinging())
    KEPT.append(threading.Thread(target=_for_ever))
    KEPT[-1].start()
    atexit.register(_for_ever)
    gc.callbacks.append(lambda *_: None)
    return Response("answered")


@deed("Ends without a word", proof=ENDS, ends=CRASH)
def exits(_):
    os._exit(0)


@deed("Ends by the way of programs", proof=ENDS, ends=("endpoint.raised",))
def raises_exit(_):
    sys.exit(0)


@deed("Ends by the way of programs within its body", proof=ENDS, ends=("endpoint.body",))
def raises_exit_in_body(_):
    def body():
        yield b"begun"
        sys.exit(0)

    return Response(body())


@deed("Is interrupted as by a terminal", proof=ENDS, ends=("endpoint.raised",))
def interrupted(_):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)


@deed("Reads where there is nothing", proof=ENDS, ends=CRASH)
def segmentation_fault(_):
    ctypes.string_at(0)


@deed("Gives up in C", proof=ENDS, ends=CRASH)
def aborts(_):
    libc.abort()


@deed("Has itself ended by the tool that tells of faults", proof=ENDS, ends=CRASH)
def ended_by_tool(_):
    faulthandler.dump_traceback_later(0.05, exit=True)
    time.sleep(60)


@deed("Becomes another program", proof=ENDS, ends=CRASH)
def becomes_another(_):
    os.execv("/bin/sleep", ["sleep", "600"])


@deed("Closes all descriptors and waits", proof=ENDS, ends=CRASH)
def closes_all(_):
    os.closerange(0, 1100)
    while True:
        time.sleep(60)


@deed("Takes away the worker's own voice", proof=ENDS, ends=CRASH)
def silences_worker(_):
    """It was made before the fork, so that the collector does not list it; those who have called us know it."""
    frame = sys._getframe()
    while frame is not None:
        for one in frame.f_locals.values():
            if type(one).__name__ == "Channel":
                type(one).send = type(one).send_chunk = lambda *_: None
        frame = frame.f_back
    return Response("never heard")


@deed("Ends by the signal that the target says", proof=ENDS, ends=(*CRASH, *SLOW, "endpoint.raised"))
def signals_itself(target):
    os.kill(os.getpid(), target["signal"])
    time.sleep(0.05)
    return Response(f"still there after {target['signal']}")


def _take_name() -> None:
    name = ctypes.create_string_buffer(NAME.encode())
    control(15, ctypes.addressof(name))


def _leave(loop=None, *, count: int = 1) -> None:
    """Leave processes that have cut all ties and ignore all signals."""
    reads, writes = os.pipe()
    for _ in range(count):
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                os.setsid()
                _ignore_all()
                _take_name()
                os.write(writes, b"x")
                os.closerange(0, 1100)
                while True:
                    (loop or time.sleep)(60)
            os._exit(0)
        os.waitpid(middle, 0)
        os.read(reads, 1)


@deed("Answers, and leaves daemons that ignore all signals", proof=OUTLIVES)
def leaves_daemons(_):
    _leave(count=10)
    return Response("answered")


@deed("Answers, and leaves a process that is always another one: it forks, and ends", proof=OUTLIVES)
def leaves_runner(_):
    def run(_) -> None:
        for _ in range(1000):
            if os.fork() != 0:
                os._exit(0)
            time.sleep(0.002)
        os._exit(0)

    _leave(run)
    return Response("answered")


@deed("Answers, and leaves processes with a guardian that adopts what others lose", proof=OUTLIVES)
def leaves_guardian(_):
    def guard(_) -> None:
        control(36, 1)  # PR_SET_CHILD_SUBREAPER
        control(1, 0)  # PR_SET_PDEATHSIG
        for _ in range(5):
            if os.fork() == 0:
                if os.fork() == 0:
                    while True:
                        time.sleep(60)
                os._exit(0)
        while True:
            time.sleep(60)

    _leave(guard)
    time.sleep(0.1)
    return Response("answered")


@deed("Answers, and leaves processes that are stopped", proof=OUTLIVES)
def leaves_stopped(_):
    _leave(lambda _: os.kill(os.getpid(), signal.SIGSTOP), count=5)
    return Response("answered")


@deed("Ends without a word, and leaves daemons that hold its pipes", proof=OUTLIVES, ends=CRASH)
def leaves_holders(_):
    middle = os.fork()
    if middle == 0:
        if os.fork() == 0:
            os.setsid()
            _ignore_all()
            _take_name()
            while True:
                time.sleep(60)
        os._exit(0)
    os.waitpid(middle, 0)
    os._exit(0)

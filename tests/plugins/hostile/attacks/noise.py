"""Neighbours that make as much noise as they can, until they are stopped. They have no result."""

from __future__ import annotations

import contextlib
import os
import time

from werkzeug import Response

from attacks import bare, pipe
from attacks.deeds import deed

KEPT: list[object] = []
LOUD = bare()
"""That it makes noise shows in how it ends: by a limit that a quiet one does not reach."""

MOST_S = 30
"""Each ends by itself then, whatever else happens."""


@deed("Forks for ever, and so do its children", proof=LOUD, ends=("timeout.wall", "timeout.cpu", "limit.memory"))
def forks(_):
    end = time.monotonic() + MOST_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            os.fork()
    os._exit(0)


@deed("Takes memory for ever, in four processes", proof=LOUD, ends=("limit.memory",))
def memory(_):
    """Where each of them is refused more than it may have, all together have too much."""
    for _ in range(2):
        os.fork()
    with contextlib.suppress(MemoryError):
        for _ in range(256):
            KEPT.append(bytearray(b"x") * (1 << 20))
    time.sleep(MOST_S)
    os._exit(0)


@deed("Counts for ever, in four processes", proof=LOUD, ends=("timeout.wall", "timeout.cpu"))
def processor(_):
    for _ in range(2):
        os.fork()
    end = time.monotonic() + MOST_S
    while time.monotonic() < end:
        sum(range(1000))
    os._exit(0)


@deed("Prints for ever", proof=LOUD, ends=("limit.log_output",))
def output(_):
    end = time.monotonic() + MOST_S
    while time.monotonic() < end:
        os.write(1, b"noise " * 10_000 + b"\n")
    os._exit(0)


@deed("Calls for ever, at length and half", proof=LOUD, ends=("worker.protocol", "timeout.wall"))
def calls(_):
    """Sixteen megabytes are announced each time; a piece comes, and never the rest."""
    end, number = time.monotonic() + MOST_S, 0
    reads, writes = pipe.find_ends()
    os.set_blocking(writes, True)
    os.set_blocking(reads, True)
    piece = b"x" * 60_000
    while time.monotonic() < end:
        call = pipe.frame(pipe.CALL, number, "storage", 16 << 20, piece)
        data = memoryview(call + (pipe.frame(pipe.CALL_CANCEL, number) if number % 16 else b""))
        while data:
            data = data[os.write(writes, data) :]
        number += 1
        if number % 64 == 0:
            os.read(reads, 1 << 16)
    os._exit(0)


@deed("Answers for ever", proof=LOUD, ends=("limit.response_body", "timeout.wall"))
def answer(_):
    def body():
        end = time.monotonic() + MOST_S
        while time.monotonic() < end:
            yield b"noise" * 10_000

    return Response(body())

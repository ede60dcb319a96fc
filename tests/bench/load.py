"""Makes load: `python -m tests.bench.load`, a plan in JSON on standard input, what came of it on standard output.

A process of its own, so that what it costs is not in the service's figures, nor slowed by whoever measures.

closed   each client sends its next request when it has the answer to the last one
open     requests are sent at a fixed rate, whether the earlier ones are answered or not; times count from when a
         request was due, so that no delay is hidden ("coordinated omission")
burst    all requests at the same moment, each on a connection that was opened before
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import itertools
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Final

import uvloop

from tests.bench.http_client import AnswerError, Connection

__all__ = ["Load", "Plan", "is_expected", "make_load"]

FAILURES_TOLD: Final = 3
CLOCK_MONOTONIC: Final = 1
TFD_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
TFD_TIMER_ABSTIME: Final = 1
EXPIRATIONS_SIZE: Final = 8
BILLION: Final = 1_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What load to make.

    Attributes:
        mode: `closed`, `open` or `burst`.
        port: Where to send it, on this machine.
        request: As it goes over the wire, in base64.
        content: Something that every answer's body has in its first part; text.
        least_size: Bytes that every answer's body has at least.
        clients: How many there are (`closed`), or how many requests (`burst`).
        seconds: For how long; 0: until `requests` are answered.
        requests: How many in all (`closed`, `open`); 0: as many as fit.
        rate: Requests per second (`open`).
    """

    mode: str
    port: int
    request: str
    content: str
    least_size: int
    clients: int = 1
    seconds: float = 0.0
    requests: int = 0
    rate: float = 0.0


@dataclass(kw_only=True, slots=True)
class Load:
    """What came of it.

    Attributes:
        times_ms: From the request to the end of its answer, for those that went well, in the order of their ends.
        first_ms: From the request to the first piece of its answer, for the same ones.
        open_most: How many answers had begun and not ended at the same time, at most.
        elapsed_s: From the first request to the last answer.
        failed: How many did not go well.
        failures: What was wrong with the first of them.
    """

    times_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    open_most: int = 0
    elapsed_s: float = 0.0
    failed: int = 0
    failures: list[str] = field(default_factory=list)


def is_expected(plan: Plan, status: int, size: int, kept: bytes) -> bool:
    """Whether an answer is the right one."""
    return status == 200 and size >= plan.least_size and plan.content.encode() in kept


class _Maker:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._request = base64.b64decode(plan.request)
        self._sign = plan.content.encode()
        self._free: list[Connection] = []
        self._spans: list[tuple[int, int]] = []
        self.load = Load()

    async def ask(self, due_ns: int | None = None) -> None:
        """Make one request on a connection that is free, or on a new one."""
        begun_ns = time.monotonic_ns() if due_ns is None else due_ns
        try:
            connection = self._take() or await Connection.open("127.0.0.1", self._plan.port)
            reader = await connection.ask(self._request, self._sign)
        except (AnswerError, OSError) as error:
            self._fail(f"{type(error).__name__}: {error}")
            return
        ended_ns = time.monotonic_ns()
        if connection.usable:
            self._free.append(connection)
        if is_expected(self._plan, reader.status, reader.size, reader.kept):
            self.load.times_ms.append((ended_ns - begun_ns) / 1e6)
            self.load.first_ms.append((connection.first_ns - begun_ns) / 1e6)
            self._spans.append((connection.first_ns, ended_ns))
        else:
            self._fail(f"status {reader.status}, {reader.size} bytes: {reader.kept[:300]!r}")

    async def prepare(self, count: int) -> None:
        """Open connections."""
        opened = [Connection.open("127.0.0.1", self._plan.port) for _ in range(count)]
        self._free += await asyncio.gather(*opened)

    def count_open(self) -> int:
        """Count the answers that were on their way at the same time, at most."""
        moments = sorted([*((first, 1) for first, _ in self._spans), *((last, -1) for _, last in self._spans)])
        return max(itertools.accumulate((step for _, step in moments), initial=0))

    def close(self) -> None:
        """Close all connections."""
        for connection in self._free:
            connection.close()

    def _take(self) -> Connection | None:
        while self._free:
            connection = self._free.pop()
            if connection.usable:
                return connection
        return None

    def _fail(self, what: str) -> None:
        self.load.failed += 1
        if len(self.load.failures) < FAILURES_TOLD:
            self.load.failures.append(what)


async def make_load(plan: Plan) -> Load:
    """Make the load of a plan.

    Raises:
        OSError: The server cannot be reached at all.
        KeyError: There is no such mode.
    """
    make = {"closed": _make_closed, "open": _make_open, "burst": _make_burst}[plan.mode]
    maker = _Maker(plan)
    await maker.prepare(plan.clients)
    begun = time.monotonic()
    try:
        await make(maker, plan)
    finally:
        maker.close()
    maker.load.elapsed_s = time.monotonic() - begun
    maker.load.open_most = maker.count_open()
    return maker.load


async def _make_closed(maker: _Maker, plan: Plan) -> None:
    until = time.monotonic() + plan.seconds if plan.seconds else float("inf")
    left = plan.requests or sys.maxsize

    async def run_client() -> None:
        nonlocal left
        while left > 0 and time.monotonic() < until:
            left -= 1
            await maker.ask()

    await asyncio.gather(*(run_client() for _ in range(plan.clients)))


async def _make_burst(maker: _Maker, plan: Plan) -> None:
    await asyncio.gather(*(maker.ask() for _ in range(plan.clients)))


async def _make_open(maker: _Maker, plan: Plan) -> None:
    """Send at a fixed rate, by a timer of the kernel: those of event loops are as coarse as a millisecond."""
    interval_ns = int(BILLION / plan.rate)
    count = plan.requests or max(1, int(plan.seconds * plan.rate))
    first_ns = time.monotonic_ns() + interval_ns
    timer = _open_timer(first_ns, interval_ns)
    loop = asyncio.get_running_loop()
    all_sent = loop.create_future()
    asked: set[asyncio.Task[None]] = set()
    sent = 0

    def send_due() -> None:
        nonlocal sent
        for _ in range(int.from_bytes(os.read(timer, EXPIRATIONS_SIZE), sys.byteorder)):
            if sent < count:
                asked.add(asyncio.create_task(maker.ask(first_ns + sent * interval_ns)))
                sent += 1
        if sent == count and not all_sent.done():
            all_sent.set_result(None)

    loop.add_reader(timer, send_due)
    try:
        await all_sent
    finally:
        loop.remove_reader(timer)
        os.close(timer)
    await asyncio.gather(*asked)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("first", _Timespec))


def _open_timer(first_ns: int, interval_ns: int) -> int:
    """Open a timer that becomes readable at a time of the monotonic clock and at each interval from then on.

    Raises:
        OSError: The kernel has none for us.
    """
    libc = ctypes.CDLL(None, use_errno=True)  # `os.timerfd_create` is there from Python 3.13 on
    fd = int(libc.timerfd_create(CLOCK_MONOTONIC, TFD_FLAGS))
    spec = _TimerSpec(_Timespec(*divmod(interval_ns, BILLION)), _Timespec(*divmod(first_ns, BILLION)))
    if fd < 0 or libc.timerfd_settime(fd, TFD_TIMER_ABSTIME, ctypes.byref(spec), None) != 0:
        raise OSError(ctypes.get_errno(), "no timer of the kernel")
    return fd


def main() -> None:
    """Make the load of the plan on standard input."""
    plan = Plan(**json.load(sys.stdin))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        load = runner.run(make_load(plan))
    json.dump(asdict(load), sys.stdout)


if __name__ == "__main__":
    main()

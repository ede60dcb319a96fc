"""Attacks on processor time. Each uses `seconds` of it, which is more than it may, and ends by itself then."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import threading
import time

from attacks import limits
from attacks.deeds import deed

MORE = limits(cpu_time="1m", cpu_share=2)
MOST_S = 250
"""Longest run of a deed by the clock, on a busy machine."""

ENDS = ("timeout.cpu",)


def _spin(seconds: float) -> bool:
    """Use so much processor time; whether it was given in time."""
    begun, deadline = time.process_time(), time.monotonic() + MOST_S
    while time.process_time() - begun < seconds:
        if time.monotonic() > deadline:
            return False
        sum(range(1000))
    return True


@deed("Counts", proof=MORE, ends=ENDS)
def loop(target):
    return f"{target['seconds']} s" if _spin(target["seconds"]) else None


@deed("Counts in many processes, each of which does so for a short time", proof=MORE, ends=ENDS)
def many_processes(target):
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            os._exit(0 if _spin(target["seconds"] / 8) else 1)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    return f"8 times {target['seconds'] / 8} s" if not any(statuses) else None


@deed("Counts in one short-lived child after the other", proof=MORE, ends=ENDS)
def short_lives(target):
    for _ in range(10):
        child = os.fork()
        if child == 0:
            os._exit(0 if _spin(target["seconds"] / 10) else 1)
        if os.waitpid(child, 0)[1]:
            return None
    return f"10 times {target['seconds'] / 10} s"


@deed("Counts in children whose parents have ended, so that it is nobody's time", proof=MORE, ends=ENDS)
def nobodys_time(target):
    reads, writes = os.pipe()
    for _ in range(10):
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                os.setsid()
                _spin(target["seconds"] / 10)
                os.write(writes, b"x")
            os._exit(0)
        os.waitpid(middle, 0)
        os.read(reads, 1)
    return f"10 times {target['seconds'] / 10} s"


@deed("Counts in children that nobody has to wait for", proof=MORE, ends=ENDS, by_groups=True)
def unburied(target):
    """Who ignores their end is not told what they have used, and nor is anybody else."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    reads, writes = os.pipe()
    for _ in range(40):
        if os.fork() == 0:
            _spin(target["seconds"] / 40)
            os.write(writes, b"x")
            os._exit(0)
        os.read(reads, 1)
    return f"40 times {target['seconds'] / 40} s"


@deed("Counts in threads", proof=MORE, ends=ENDS)
def threads(target):
    """They are not given the interpreter's lock at the same time, but C code need not hold it."""
    done = []

    def work() -> None:
        begun, deadline = time.thread_time(), time.monotonic() + MOST_S
        while time.thread_time() - begun < target["seconds"] / 2 and time.monotonic() < deadline:
            hashlib.pbkdf2_hmac("sha256", b"x", b"y", 20_000)
        done.append(time.thread_time() - begun >= target["seconds"] / 2)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return f"2 times {target['seconds'] / 2} s" if all(done) else None


@deed("Stays in C code that holds the interpreter's lock and looks at no signal", proof=MORE, ends=ENDS)
def in_c_code(target):
    """The larger of two numbers is found by trying how long the smaller one takes."""
    bits, took = 1 << 16, 0.0
    while took < target["seconds"] / 8:
        bits *= 2
        number = (1 << bits) - 1
        begun = time.process_time()
        number * number
        took = time.process_time() - begun
    number = (1 << bits * 4) - 1
    begun = time.process_time()
    number * number
    return f"{time.process_time() - begun} s in one step"


@deed("Ignores the signal that says that its time is over", proof=MORE, ends=ENDS)
def signal_ignored(target):
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    return f"{target['seconds']} s" if _spin(target["seconds"]) else None


@deed("Raises its limit of processor time as far as it can", proof=MORE, ends=ENDS)
def raised_limit(target):
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    return f"{target['seconds']} s" if _spin(target["seconds"]) else None


@deed("Stays in the kernel: time of the system counts as well", proof=MORE, ends=ENDS)
def in_the_kernel(target):
    begun, deadline = os.times().system, time.monotonic() + MOST_S
    with open("/dev/zero", "rb", buffering=0) as zeros:
        buffer = bytearray(1 << 20)
        while os.times().system - begun < target["seconds"]:
            if time.monotonic() > deadline:
                return None
            zeros.readinto(buffer)
    return f"{target['seconds']} s"


@deed("Uses more of the processors at a time than its share", proof=limits(cpu_share=2), by_groups=True)
def share(target):
    """Four processes at once: the most that they get of one processor, in any of some short times."""
    return any(_used_by_four() > 0.2 for _ in range(target["tries"])) and "more than a fifth of a processor"


def _used_by_four() -> float:
    begun, before, children = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN), []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            end = time.monotonic() + 1
            while time.monotonic() < end:
                sum(range(1000))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime) / (time.monotonic() - begun)

"""Attacks by number: processes, threads, programs, and what is left of them.

Each deed wants as many at a time as `most` of the target says, which is twice what it may have, and stops there.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time

from attacks import limits
from attacks.deeds import deed

MORE = limits(processes=2048, memory="1 GiB")
WAIT_S = 20
CROWD = ("limit.memory",)
"""Many processes need much memory; without control groups what they share counts for each of them."""


def _count(children: list[int], what: str, most: int) -> str | None:
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    return f"{len(children)} {what} at a time" if len(children) >= most else None


@deed("Forks and forks", proof=MORE, ends=CROWD)
def forks(target):
    children = []
    try:
        while len(children) < target["most"]:
            child = os.fork()
            if child == 0:
                while True:
                    signal.pause()
            children.append(child)
    except OSError:
        pass
    return _count(children, "children", target["most"])


@deed("Forks, and so do its children, and theirs: a fork bomb", proof=MORE, ends=CROWD)
def fork_bomb(target):
    """A pipe has a token for each process that there may be; whoever gets none stops forking."""
    tokens_r, tokens_w = os.pipe()
    count_r, count_w = os.pipe()
    os.write(tokens_w, b"x" * target["most"])
    os.close(tokens_w)
    first = os.fork()
    if first == 0:
        os.setpgid(0, 0)
        while True:
            os.write(count_w, b"x")
            while os.read(tokens_r, 1):
                try:
                    if os.fork() == 0:
                        break
                except OSError:
                    time.sleep(0.005)
            else:
                while True:
                    signal.pause()
    counted, deadline = 0, time.monotonic() + 3
    while counted < target["most"] and time.monotonic() < deadline:
        if select.select([count_r], [], [], 0.1)[0]:
            counted += len(os.read(count_r, 4096))
    os.killpg(first, signal.SIGKILL)
    return f"{counted} processes at a time" if counted >= target["most"] else None


@deed("Starts threads and threads", proof=MORE, ends=CROWD)
def threads(target):
    stay, started = threading.Event(), []
    threading.stack_size(64 << 10)
    try:
        while len(started) < target["most"]:
            thread = threading.Thread(target=stay.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        pass
    alive = threading.active_count()
    stay.set()
    return f"{alive} threads at a time" if alive >= target["most"] else None


@deed("Starts threads in its children, each of which has few", proof=MORE, ends=CROWD)
def threads_of_children(target):
    threading.stack_size(64 << 10)
    reads, writes = os.pipe()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            try:
                for _ in range(target["most"] // 4):
                    threading.Thread(target=signal.pause, daemon=True).start()
                    os.write(writes, b"x")
            except BaseException:
                pass
            while True:
                signal.pause()
        children.append(child)
    counted, deadline = 0, time.monotonic() + 3
    while counted < target["most"] and time.monotonic() < deadline:
        if select.select([reads], [], [], 0.1)[0]:
            counted += len(os.read(reads, 4096))
    _count(children, "", 0)
    return f"{counted} threads at a time" if counted >= target["most"] else None


@deed("Starts programs, which is done without a copy: vfork", proof=MORE, ends=CROWD)
def programs(target):
    """One shell, which needs little memory, starts them."""
    script = (
        f"i=0; while [ $i -lt {target['most']} ]; do sleep 20 > /dev/null & i=$((i+1)); done; echo started; sleep 20"
    )
    shell = subprocess.Popen(
        ["/bin/sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    ended = not select.select([shell.stdout], [], [], WAIT_S)[0] or not os.read(shell.stdout.fileno(), 16)
    os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()
    return None if ended else f"{target['most']} programs at a time"


@deed("Leaves its dead unburied: they have numbers, too", proof=MORE, ends=CROWD)
def zombies(target):
    children = []
    try:
        while len(children) < target["most"]:
            child = os.fork()
            if child == 0:
                os._exit(0)
            children.append(child)
    except OSError:
        pass
    return _count(children, "zombies", target["most"])


@deed("Gives each child a session of its own, so that no group has them all", proof=MORE, ends=CROWD)
def sessions(target):
    children = []
    try:
        while len(children) < target["most"]:
            child = os.fork()
            if child == 0:
                os.setsid()
                while True:
                    signal.pause()
            children.append(child)
    except OSError:
        pass
    return _count(children, "sessions", target["most"])


@deed("Leaves children to process 1, which does not know them", proof=MORE, ends=CROWD)
def orphans(target):
    """They write their number while they live; the parent of each has ended."""
    reads, writes = os.pipe()
    for _ in range(target["most"]):
        try:
            middle = os.fork()
        except OSError:
            break
        if middle == 0:
            try:
                if os.fork() == 0:
                    os.setsid()
                    os.write(writes, b"x")
                    while True:
                        signal.pause()
            finally:
                os._exit(0)
        os.waitpid(middle, 0)
    counted = 0
    while counted < target["most"] and select.select([reads], [], [], 0.5)[0]:
        counted += len(os.read(reads, 4096))
    return f"{counted} orphans at a time" if counted >= target["most"] else None

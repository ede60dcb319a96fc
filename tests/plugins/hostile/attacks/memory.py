"""Attacks on memory: every kind of it that counts for a worker, in user space and in the kernel.

Each deed takes `bytes` of the target, which is more than it may have, and holds it for a moment, so that whoever
watches can see it. All are bounded by that amount and by a few seconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable

from attacks import attack, limits, off
from attacks.calls import call, in_child, libc
from attacks.deeds import deed

MIB = 1 << 20
PAGE = mmap.PAGESIZE
NO_RESERVE = 0x4000
"""MAP_NORESERVE, which the module has from Python 3.13 on."""

HOLD_S = 0.5
WAIT_S = 40
MORE = limits(memory="512 MiB", scratch_size="256 MiB", file_size="256 MiB", scratch_files=200_000, open_files=1024)
KEPT: list[object] = []


def _hold(size: int, what: str) -> str:
    time.sleep(HOLD_S)
    return f"holds {size // MIB} MiB of {what}"


def _map(size: int, flags: int = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, advice: int | None = None) -> None:
    """Map memory and write to all of it."""
    memory = mmap.mmap(-1, size, flags=flags)
    if advice is not None:
        memory.madvise(advice)
    _fill(memory, size)


def _fill(memory: mmap.mmap, size: int) -> None:
    first = ctypes.c_char.from_buffer(memory)
    ctypes.memset(ctypes.addressof(first), 1, size)
    KEPT.append((memory, first))


def _in_children(count: int, work: Callable[[int], object]) -> int:
    """Fork children that work and stay; how many got through with it."""
    reads, writes = os.pipe()
    children = []
    for number in range(count):
        try:
            child = os.fork()
        except OSError:
            break
        if child == 0:
            try:
                os.write(writes, b"+" if work(number) is not False else b"-")
            except BaseException:
                os.write(writes, b"-")
            while True:
                signal.pause()
        children.append(child)
    said = b""
    deadline = time.monotonic() + WAIT_S
    while len(said) < len(children) and time.monotonic() < deadline:
        if select.select([reads], [], [], 0.1)[0]:
            said += os.read(reads, 64)
    time.sleep(HOLD_S)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return said.count(b"+")


@deed("Asks for memory as every program does", proof=MORE, ends=("limit.memory",))
def heap(target):
    for _ in range(target["bytes"] // (4 * MIB)):
        KEPT.append(bytearray(b"x") * (4 * MIB))
    return _hold(target["bytes"], "heap")


@deed("Maps private memory", proof=MORE, ends=("limit.memory",))
def private_mapping(target):
    _map(target["bytes"])
    return _hold(target["bytes"], "private memory")


@deed("Maps shared memory, which belongs to no process in particular", proof=MORE, ends=("limit.memory",))
def shared_mapping(target):
    _map(target["bytes"], mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    return _hold(target["bytes"], "shared memory")


@deed("Maps memory in huge pages", proof=MORE, ends=("limit.memory",))
def huge_pages(target):
    _map(target["bytes"], advice=mmap.MADV_HUGEPAGE)
    return _hold(target["bytes"], "huge pages")


@deed("Has many children, each of which takes less than is allowed", proof=MORE, ends=("limit.memory",))
def many_children(target):
    share = target["bytes"] // 8
    done = _in_children(8, lambda _: _map(share))
    return f"{done} children hold {share // MIB} MiB each" if done == 8 else None


@deed("Makes a large process many, which then go separate ways", proof=MORE, ends=("limit.memory",))
def copies_of_pages(target):
    size = target["bytes"] // 4
    _map(size)
    memory, first = KEPT[-1]
    done = _in_children(3, lambda number: ctypes.memset(ctypes.addressof(first), number, size))
    return f"{done} copies of {size // MIB} MiB" if done == 3 else None


@deed("Doubles a number until it is huge", proof=MORE, ends=("limit.memory", "endpoint.raised"))
def huge_number(target):
    number = 1
    while number.bit_length() < target["bytes"] * 8:
        number <<= max(8, number.bit_length())
    KEPT.append(number)
    return _hold(target["bytes"], "digits")


@deed("Unfolds a few bytes into many: a bomb of zlib", proof=MORE, ends=("limit.memory",))
def inflate(target):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = block * (target["bytes"] // MIB) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    KEPT.append(zlib.decompress(bomb, -15))
    return _hold(len(KEPT[-1]), "zeros")


@deed("Calls itself for ever", proof=MORE, ends=("limit.memory", "worker.crashed", "endpoint.raised"))
def recursion(target):
    sys.setrecursionlimit(1 << 30)

    def descend(depth: int) -> int:
        local = bytes(2048)
        return descend(depth - 1) if depth else len(local)

    threading.stack_size(32 * MIB)
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(descend(target["bytes"] // 2048)))
    thread.start()
    thread.join()
    return f"{target['bytes'] // 2048} levels deep" if done else None


def _fill_own_stack() -> None:
    """Write to all of the calling thread's stack that is not in use."""
    attributes = ctypes.create_string_buffer(256)
    start, size = ctypes.c_void_p(), ctypes.c_size_t()
    libc.pthread_self.restype = ctypes.c_void_p
    libc.pthread_getattr_np(ctypes.c_void_p(libc.pthread_self()), attributes)
    libc.pthread_attr_getstack(attributes, ctypes.byref(start), ctypes.byref(size))
    ctypes.memset(start.value + 16 * PAGE, 1, size.value - 128 * PAGE)


@deed("Has threads with large stacks, and uses them", proof=MORE, ends=("limit.memory",))
def stacks(target):
    threading.stack_size(8 * MIB)
    done, stay = threading.Semaphore(0), threading.Event()

    def work() -> None:
        _fill_own_stack()
        done.release()
        stay.wait()

    count = target["bytes"] // (7 * MIB) + 1
    for _ in range(count):
        threading.Thread(target=work, daemon=True).start()
    for _ in range(count):
        if not done.acquire(timeout=WAIT_S):
            return None
    time.sleep(HOLD_S)
    stay.set()
    return f"{count} stacks"


@deed("Fills its scratch folder", proof=MORE, ends=("limit.memory",))
def scratch_files(target):
    _write_files("/tmp", target["bytes"])
    return _hold(target["bytes"], "files")


@deed("Fills files that have no name any more", proof=MORE, ends=("limit.memory",))
def nameless_files(target):
    _write_files("/tmp", target["bytes"], nameless=True)
    return _hold(target["bytes"], "nameless files")


@deed("Fills the folder for shared memory", proof=MORE, ends=("limit.memory",))
def posix_shared_memory(target):
    _write_files("/dev/shm", target["bytes"])
    return _hold(target["bytes"], "shared memory")


@deed("Has half of it in files and half in memory", proof=MORE, ends=("limit.memory",))
def files_and_heap(target):
    half = target["bytes"] // 2
    _write_files("/tmp", half)
    _map(half)
    return _hold(target["bytes"], "files and heap")


@deed("Writes by memory to a file of nothing but a hole", proof=MORE, ends=("limit.memory", "worker.crashed"))
def mapped_hole(target):
    with open("/tmp/hole", "w+b") as file:
        file.truncate(target["bytes"])
        memory = mmap.mmap(file.fileno(), target["bytes"])
    _fill(memory, target["bytes"])
    return _hold(target["bytes"], "a mapped file")


def _write_files(folder: str, size: int, *, nameless: bool = False) -> None:
    block = b"x" * MIB
    for number in range(size // (4 * MIB)):
        path = f"{folder}/file-{number}"
        file = open(path, "wb", buffering=0)
        KEPT.append(file)
        if nameless:
            os.unlink(path)
        for _ in range(4):
            if file.write(block) != MIB:
                raise OSError(28, "no room")


@deed("Makes the kernel keep many long names", proof=MORE, ends=("limit.memory",), by_groups=True)
def long_names(target):
    os.chdir("/tmp")
    count = target["bytes"] // 1024
    for number in range(count):
        os.symlink("x" * 120, f"{number:>0250}")
    return f"{count} names of 250 bytes"


@deed("Makes the kernel keep data in pipes", proof=MORE, ends=("limit.memory",), by_groups=True)
def pipes(target):
    share = target["bytes"] // 4
    done = _in_children(4, lambda _: _fill_pipes(share))
    return f"{done} children hold {share // MIB} MiB each in pipes" if done == 4 else None


def _fill_pipes(size: int) -> bool:
    block = b"x" * (64 << 10)
    while size > 0:
        reads, writes = os.pipe()
        os.set_blocking(writes, False)
        size -= os.write(writes, block)
    return True


@deed("Makes the kernel keep data in sockets", proof=MORE, ends=("limit.memory",), by_groups=True)
def sockets(target):
    _fill_sockets(target["bytes"])
    return _hold(target["bytes"], "data between sockets")


def _fill_sockets(size: int) -> list[socket.socket]:
    block = b"x" * (32 << 10)
    pairs = []
    while size > 0:
        pair = socket.socketpair()
        pairs.extend(pair)
        for end in pair:
            end.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while size > 0:
                    size -= end.send(block)
    KEPT.append(pairs)
    return pairs


@deed("Puts descriptors where they are not counted: on their way", proof=MORE, ends=("limit.memory",), by_groups=True)
def descriptors_on_their_way(target):
    """Sockets full of data are sent through a socket, and closed here."""
    size, block = target["bytes"], b"x" * (32 << 10)
    ours, theirs = socket.socketpair()
    KEPT.append((ours, theirs))
    while size > 0:
        pairs = [socket.socketpair() for _ in range(32)]
        for end in (end for pair in pairs for end in pair):
            end.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while size > 0:
                    size -= end.send(block)
        socket.send_fds(ours, [b"x"], [end.fileno() for pair in pairs for end in pair])
        for end in (end for pair in pairs for end in pair):
            end.close()
    return _hold(target["bytes"], "data in sockets that nobody has")


@deed("Makes the kernel keep tables of pages, with no pages", proof=MORE, ends=("limit.memory",), by_groups=True)
def page_tables(target):
    """One page in each 2 MiB is read: it is the one of zeros that all share, but its table is not."""
    tables, span = target["bytes"] // PAGE, 2 * MIB
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE
    memory = mmap.mmap(-1, tables * span, flags=flags, prot=mmap.PROT_READ)
    for number in range(tables):
        memory[number * span]
    KEPT.append(memory)
    return _hold(tables * PAGE, "page tables")


@deed("Makes the kernel keep lists of what is waited for", proof=MORE, ends=("limit.memory",), by_groups=True)
def watches(target):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    share = target["bytes"] // 4
    done = _in_children(4, lambda _: _watch(share, most))
    return f"{done} children with {share // MIB} MiB of watches each" if done == 4 else None


def _watch(size: int, most: int) -> bool:
    ends = [os.pipe()[0] for _ in range(most // 6)]
    left = size // 192  # bytes of one watch, at least
    while left > 0:
        epoll = select.epoll()
        KEPT.append(epoll)
        for descriptor in ends:
            epoll.register(descriptor, select.EPOLLIN)
        left -= len(ends)
    return True


@attack("Has more timers than the host can bear", proof=off("resource_limits"))
def timers(_):
    timer = ctypes.c_void_p()
    for count in range(2000):
        if libc.timer_create(ctypes.c_int(1), None, ctypes.byref(timer)) != 0:
            return None
    return f"{count + 1} timers"


@attack("Has more signals waiting than the host can bear", proof=off("resource_limits"))
def waiting_signals(_):
    def queue() -> str | None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
        for _ in range(2000):
            if libc.sigqueue(os.getpid(), signal.SIGRTMIN, ctypes.c_void_p(1)) != 0:
                return None
        return "2000 signals"

    return in_child(queue)


@attack("Locks memory, in a small way", proof=off("resource_limits"))
def lock_a_page(_):
    buffer = ctypes.create_string_buffer(PAGE)
    call("mlock", buffer, ctypes.c_size_t(PAGE))
    return "a page is locked"


@attack("Has the kernel keep extended attributes, which nothing bounds", proof=off("seccomp"))
def extended_attributes(_):
    with open("/tmp/attributes", "wb"):
        os.setxattr("/tmp/attributes", "user.sandbox", b"x" * 1024)
    return f"{os.listxattr('/tmp/attributes')}"


def _seen_by_child(path: str, *, whole: bool) -> str | None:
    """Whether another process is kept from locking a file."""

    def look() -> str | None:
        with open(path, "r+b") as file:
            try:
                if whole:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                else:
                    kind = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, _record(fcntl.F_WRLCK)))[0]
                    return None if kind == fcntl.F_UNLCK else "it is locked"
            except BlockingIOError:
                return "it is locked"
        return None

    return in_child(look)


def _record(kind: int) -> bytes:
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 1, 0)


@attack("Has the kernel keep locks of records, which nothing bounds", proof=off("seccomp"))
def record_locks(_):
    file = open("/tmp/records", "w+b")
    KEPT.append(file)
    fcntl.fcntl(file, fcntl.F_SETLK, _record(fcntl.F_WRLCK))
    return _seen_by_child("/tmp/records", whole=False)


@attack("Has the kernel keep locks of files", proof=off("seccomp"))
def file_locks(_):
    file = open("/tmp/whole", "w+b")
    KEPT.append(file)
    fcntl.flock(file, fcntl.LOCK_EX)
    return _seen_by_child("/tmp/whole", whole=True)

"""What one request may leave for the next one of its hook, which runs in the same slot: nothing.

Each trace is left by one request and looked for by the next. Both in one request show that the look can find it.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import fcntl
import gc
import importlib.machinery
import json
import locale
import logging
import os
import re
import resource
import secrets
import signal
import socket
import sys
import time
import types

import werkzeug

from attacks import Proof, off
from attacks.calls import call, control, libc

__all__ = ["TRACES", "act"]

MARK = "sandbox-trace"
KEY = 0x5A4D
TRACES: dict[str, type] = {}
"""Classes with `leave` and `look`, by name; `proof` where both together find nothing unless layers are off."""
KEPT: list[object] = []


def trace(what: str, proof: Proof | None = None):
    """Put a class into the table."""

    def register(kind: type) -> type:
        kind.what, kind.proof = what, proof
        TRACES[kind.__name__] = kind
        return kind

    return register


def act(step: str, name: str) -> dict[str, object]:
    """Leave a trace, look for it, or both; `found` is what was seen of it, `refused` why it could not be left."""
    kind = TRACES[name]
    slot = os.stat("/proc/self/ns/pid").st_ino
    result: dict[str, object] = {"found": None, "refused": None, "number": os.getpid(), "slot": slot}
    if step in ("leave", "both"):
        try:
            kind.leave()
        except OSError as error:
            result["refused"] = str(error)
    if step in ("look", "both"):
        with contextlib.suppress(OSError):
            result["found"] = kind.look()
    return result


def _daemon(prepare) -> None:
    """Leave a process that has cut all ties and ignores all signals; return when it has prepared something."""
    reads, writes = os.pipe()
    middle = os.fork()
    if middle == 0:
        if os.fork() == 0:
            os.setsid()
            for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
                with contextlib.suppress(OSError):
                    signal.signal(number, signal.SIG_IGN)
            KEPT.append(prepare())
            os.write(writes, b"x")
            while True:
                time.sleep(60)
        os._exit(0)
    os.waitpid(middle, 0)
    os.read(reads, 1)


@trace("A variable in a module of the library")
class module_variable:
    def leave():
        json.trace = MARK

    def look():
        return getattr(json, "trace", None)


@trace("A function for everybody")
class builtin:
    def leave():
        builtins.trace = MARK

    def look():
        return getattr(builtins, "trace", None)


@trace("A module that nobody has imported")
class module:
    def leave():
        sys.modules["trace_module"] = types.ModuleType("trace_module")

    def look():
        return sys.modules.get("trace_module") and "it is there"


@trace("Another behaviour of a library that all have in common")
class patched_library:
    def leave():
        werkzeug.Request.trace = MARK

    def look():
        return getattr(werkzeug.Request, "trace", None)


@trace("Another behaviour of the worker itself, found among all objects")
class patched_worker:
    def _classes():
        """By their objects: what was there before the fork is not among those that the collector lists."""
        return {type(one) for one in gc.get_objects() if type(one).__module__.startswith("worker.")}

    def leave():
        for kind in patched_worker._classes():
            with contextlib.suppress(TypeError):
                kind.trace = MARK

    def look():
        return [kind.__name__ for kind in patched_worker._classes() if hasattr(kind, "trace")] or None


@trace("Somebody who decides what an import finds")
class import_hook:
    class Finder(importlib.machinery.PathFinder):
        trace = MARK

    def leave():
        sys.meta_path.insert(0, import_hook.Finder)
        sys.path.insert(0, "/tmp/trace")

    def look():
        return "/tmp/trace" in sys.path or any(hasattr(finder, "trace") for finder in sys.meta_path) or None


@trace("The state of the interpreter")
class interpreter:
    def leave():
        sys.setrecursionlimit(4321)
        sys.setswitchinterval(1.5)
        logging.addLevelName(4321, MARK)

    def look():
        return sys.getrecursionlimit() == 4321 or sys.getswitchinterval() == 1.5 or None


@trace("The state of the C library: its random numbers, its language")
class c_library:
    def leave():
        libc.srand(4321)
        locale.setlocale(locale.LC_ALL, "C.UTF-8")

    def look():
        here = libc.rand()
        libc.srand(4321)
        return "the numbers are known" if here == libc.rand() else None


@trace("A variable of the environment, of Python and of C")
class environment:
    def leave():
        os.environ["TRACE"] = MARK
        libc.setenv(b"TRACE_OF_C", MARK.encode(), 1)

    def look():
        libc.getenv.restype = ctypes.c_char_p
        return os.environ.get("TRACE") or (libc.getenv(b"TRACE_OF_C") or b"").decode() or None


@trace("Another working directory")
class working_directory:
    def leave():
        os.chdir("/usr")

    def look():
        return os.getcwd() if os.getcwd() == "/usr" else None


@trace("Another mask for new files")
class mask:
    def leave():
        os.umask(0o123)

    def look():
        found = os.umask(0o77)
        return oct(found) if found == 0o123 else None


@trace("Lower limits")
class resource_limits:
    def leave():
        resource.setrlimit(resource.RLIMIT_NOFILE, (77, 77))

    def look():
        return 77 in resource.getrlimit(resource.RLIMIT_NOFILE) or None


@trace("Signals that are ignored, handled or blocked")
class signals:
    def leave():
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        os.kill(os.getpid(), signal.SIGUSR2)

    def look():
        ignored = [n for n in (signal.SIGUSR1, signal.SIGTERM) if signal.getsignal(n) is signal.SIG_IGN]
        blocked = signal.SIGUSR2 in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return f"{ignored} {blocked}" if ignored or blocked or signal.sigpending() else None


@trace("Another name of the process")
class process_name:
    def leave():
        name = ctypes.create_string_buffer(MARK.encode())
        control(15, ctypes.addressof(name))

    def look():
        with open("/proc/self/comm") as file:
            return MARK if file.read().strip() == MARK else None


@trace("A lower priority, another policy, fewer processors")
class scheduling:
    def leave():
        os.nice(5)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

    def look():
        found = os.getpriority(os.PRIO_PROCESS, 0) == 5 or os.sched_getscheduler(0) == os.SCHED_BATCH
        return "as it was left" if found else None


@trace("Flags of the process: slack of timers, adoption of orphans")
class process_flags:
    def leave():
        control(29, 4321)
        control(36, 1)

    def look():
        return control(30) == 4321 or None


@trace("A file in the scratch folder, and one at home")
class files:
    def leave():
        for folder in ("/tmp", os.path.expanduser("~")):
            with open(f"{folder}/{MARK}", "w") as file:
                file.write(MARK)

    def look():
        return [name for name in (*os.listdir("/tmp"), *os.listdir(os.path.expanduser("~"))) if name == MARK] or None


@trace("A file in shared memory")
class shared_memory:
    def leave():
        with open(f"/dev/shm/{MARK}", "w") as file:
            file.write(MARK)

    def look():
        return MARK if MARK in os.listdir("/dev/shm") else None


@trace("A folder that cannot be removed")
class stubborn_folder:
    def leave():
        os.makedirs(f"/tmp/{MARK}/a/b")
        os.chmod(f"/tmp/{MARK}/a", 0)
        os.chmod(f"/tmp/{MARK}", 0)

    def look():
        return MARK if MARK in os.listdir("/tmp") else None


@trace("A process that goes on living")
class process:
    def leave():
        _daemon(lambda: None)

    def look():
        found = []
        for number in range(2, 64):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, 0)
                if not os.path.exists(f"/proc/self/task/{number}"):
                    found.append(number)
        return found or None


@trace("How many processes there were")
class numbering:
    def leave():
        for _ in range(20):
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)

    def look():
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return None if (os.getpid(), child) == (2, 3) else f"the numbers are {os.getpid()} and {child}"


@trace("Somebody who listens at an abstract address")
class abstract_socket:
    def leave():
        def listen():
            listener = socket.socket(socket.AF_UNIX)
            listener.bind("\0" + MARK)
            listener.listen()
            return listener

        _daemon(listen)

    def look():
        with open("/proc/self/net/unix") as file:
            if MARK in file.read():
                return "it is listed"
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect("\0" + MARK)
        return "it answers"


@trace("Somebody who listens at a path")
class path_socket:
    def leave():
        def listen():
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"/tmp/{MARK}")
            listener.listen()
            return listener

        _daemon(listen)

    def look():
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(f"/tmp/{MARK}")
        return "it answers"


@trace("A lock on a file that all have in common", off("seccomp"))
class lock:
    def leave():
        def take():
            file = open("manifest.yaml")
            fcntl.flock(file, fcntl.LOCK_EX)
            return file

        _daemon(take)

    def look():
        with open("manifest.yaml") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return "it is locked"
        return None


@trace("Open descriptors")
class descriptors:
    def leave():
        KEPT.append([os.open("/dev/null", os.O_RDONLY) for _ in range(20)])

    def look():
        found = []
        for number in range(1100):
            with contextlib.suppress(OSError):
                os.fstat(number)
                found.append(number)
        return found if len(found) > 5 else None


@trace("Flags of an open file that all have in common")
class descriptor_flags:
    def leave():
        for number in range(3):
            fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_NONBLOCK | os.O_APPEND)

    def look():
        flags = [fcntl.fcntl(number, fcntl.F_GETFL) & (os.O_NONBLOCK | os.O_APPEND) for number in range(3)]
        return flags if any(flags) else None


@trace("What its children have used")
class usage:
    def leave():
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    def look():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return f"{used.ru_maxrss} KiB" if used.ru_maxrss else None


@trace("A secret, all over its memory")
class memory:
    def leave():
        for _ in range(100):
            KEPT.append(f"SECRET-{MARK}-{secrets.token_hex(8)}".encode() * 20)

    def look():
        """By reading all of it, as in `secrets.own_memory`; the pattern is not found by itself."""
        pattern = re.compile(b"SECRET-sandbox-trace-[0-9a-f]{16}")
        with open("/proc/self/maps") as file:
            lines = [line.split() for line in file]
        for line in lines:
            if line[1][0] != "r" or line[-1] in {"[vvar]", "[vsyscall]", "[vvar_vclock]"}:
                continue
            start, end = (int(text, 16) for text in line[0].split("-"))
            if pattern.search(ctypes.string_at(start, end - start)):
                return f"between {line[0]}"
        return None


@trace("Shared memory of System V", off("seccomp"))
class shared_segment:
    def leave():
        call("shmget", KEY, 4096, 0o1666)

    def look():
        return f"segment {call('shmget', KEY, 0, 0)}"


@trace("A semaphore of System V", off("seccomp"))
class semaphore:
    def leave():
        _sysv("semget", 1, 0o1666)

    def look():
        return f"semaphore {_sysv('semget', 0, 0)}"


def _sysv(name: str, *arguments: int) -> int:
    result = getattr(libc, name)(KEY, *arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result


@trace("A queue of System V", off("seccomp"))
class queue:
    def leave():
        _sysv("msgget", 0o1666)

    def look():
        return f"queue {_sysv('msgget', 0)}"


@trace("A queue of POSIX", off("landlock", "resource_limits", "seccomp"))
class posix_queue:
    def _open(flags):
        found = libc.mq_open(f"/{MARK}".encode(), flags, 0o666, None)
        if found == -1:
            raise OSError(ctypes.get_errno(), "mq_open")
        return found

    def leave():
        posix_queue._open(os.O_CREAT | os.O_RDWR)

    def look():
        return f"queue {posix_queue._open(os.O_RDWR)}"


@trace("A key of its user", off("seccomp"))
class key:
    def leave():
        call("add_key", b"user", MARK.encode(), b"x", 1, -4)

    def look():
        return f"key {call('keyctl', 10, -4, b'user', MARK.encode(), 0)}"


@trace("Another name of the host", off("unprivileged_user", "capabilities", "seccomp"))
class host_name:
    def leave():
        socket.sethostname(MARK)

    def look():
        return MARK if socket.gethostname() == MARK else None

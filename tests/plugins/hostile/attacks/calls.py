"""System calls by number, past the C library and whatever Python checks, and other means that attacks share."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import signal
import traceback
from collections.abc import Callable

__all__ = [
    "CLONE_NEWUSER",
    "DUMPABLE",
    "call",
    "control",
    "in_child",
    "libc",
    "parent",
    "read",
    "reached",
    "run_machine_code",
    "status",
    "writable",
]

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
DUMPABLE = 4
AT_FDCWD = -100

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

_MACHINE = {"x86_64": 0, "aarch64": 1}[platform.machine()]
_NUMBERS = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "capget": (125, 90),
    "capset": (126, 91),
    "chroot": (161, 51),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "get_robust_list": (274, 100),
    "init_module": (175, 105),
    "inotify_add_watch": (254, 27),
    "inotify_init1": (294, 26),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "keyctl": (250, 219),
    "listmount": (458, 458),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mlock": (149, 228),
    "modify_ldt": (154, -1),
    "mount": (165, 40),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "seccomp": (317, 277),
    "setdomainname": (171, 162),
    "setfsuid": (122, 151),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "shmget": (29, 194),
    "swapon": (167, 224),
    "sync": (162, 81),
    "syncfs": (306, 267),
    "sysfs": (139, -1),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "ustat": (136, -1),
}


def call(name: str | int, *arguments: object) -> int:
    """Make a system call.

    Raises:
        OSError: The kernel refused.
    """
    number = name if isinstance(name, int) else _NUMBERS[name][_MACHINE]
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *values))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def reached(name: str | int, *arguments: object, answers: tuple[int, ...] = ()) -> str:
    """Make a system call that is to fail with one of these errors: they show that the kernel looked at it.

    Raises:
        OSError: It failed in another way.
    """
    try:
        return f"{name} gave {call(name, *arguments)}"
    except OSError as error:
        if error.errno in answers:
            return f"{name} was looked at: {error.strerror}"
        raise


def control(option: int, value: int = 0, *more: int) -> int:
    """Call prctl(2).

    Raises:
        OSError: The kernel refused.
    """
    values = (ctypes.c_ulong(number) for number in (value, *more, 0, 0, 0, 0)[:4])
    result = libc.prctl(ctypes.c_int(option), *values)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")
    return int(result)


def status(field: str, process: str | int = "self") -> str:
    """Read a line of /proc/PROCESS/status."""
    with open(f"/proc/{process}/status") as file:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return lines[field]


def parent() -> int:
    """The parent's number; 1 where it has none that can be seen."""
    return os.getppid() or 1


def read(path: str, size: int = 4096) -> str | None:
    """Read the beginning of a file; None if it is empty."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        data = os.read(descriptor, size)
    finally:
        os.close(descriptor)
    return f"{path}: {data[:60]!r}" if data else None


def writable(path: str) -> str:
    """Open a file for writing, and write nothing.

    Raises:
        OSError: It cannot be written.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))
    return f"{path} could be opened for writing"


def in_child(function: Callable[[], object], *, time_s: int = 5) -> str | None:
    """Run a function in a forked child, so that what it does to its process does not last.

    Returns:
        The text that it returned.

    Raises:
        OSError: The one that it raised, or the child was killed.
    """
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(time_s)
        try:
            os.write(writes, f"0 {function() or ''}".encode()[:4096])
        except OSError as error:
            os.write(writes, f"{error.errno or errno.EIO} {error.strerror or error}".encode()[:4096])
        except BaseException:
            os.write(writes, f"! {traceback.format_exc()}".encode()[-4096:])
        finally:
            os._exit(0)
    os.close(writes)
    with open(reads, "rb") as file:
        text = file.read().decode()
    os.waitpid(pid, 0)
    code, _, words = text.partition(" ")
    if code == "!":
        raise RuntimeError(words)
    if code != "0":
        raise OSError(int(code or errno.EIO), words or "the child was killed")
    return words or None


def run_machine_code(code: bytes, *, size: int = 4096) -> int:
    """Run a function in machine code, in memory below 4 GiB; `size` bytes of it. What it leaves in eax."""
    low = 0x40  # MAP_32BIT
    memory = mmap.mmap(
        -1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | low, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    )
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return int(ctypes.CFUNCTYPE(ctypes.c_int32)(address)())

"""Attacks on the kernel: the calls that an endpoint never needs, each a way out of a sandbox that somebody has found.

An endpoint that is refused gets an error, or is killed: then its request fails, and nothing else.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import struct
import termios

from attacks import any_of, attack, bare, off
from attacks.calls import (
    AT_FDCWD,
    call,
    control,
    in_child,
    libc,
    reached,
    run_machine_code,
    status,
)

KILLED = ("worker.crashed",)
INSIDE_ROOT = ("unprivileged_user", "capabilities", "seccomp")
MOUNTS = ("unprivileged_user", "capabilities", "landlock", "seccomp")
X86 = ("x86_64",)


@attack("Keeps something in a keyring, which outlives the worker", proof=off("seccomp"))
def keyring(_):
    serial = call("add_key", b"user", b"sandbox-test", b"x", 1, -2)
    return f"key {serial} in the process keyring"


@attack("Reads the session keyring that it has inherited", proof=off("seccomp"))
def session_keyring(_):
    return f"keyring {call('keyctl', 0, -3, 1)}"


@attack("Leaves the session keyring for one of its own (CVE-2016-0728)", proof=off("seccomp"))
def join_keyring(_):
    return in_child(lambda: f"keyring {call('keyctl', 1, None)}")


@attack("Has the kernel look for a key, which may start a program of the host", proof=off("seccomp"))
def request_key(_):
    return reached("request_key", b"user", b"sandbox-test-none", None, 0, answers=(errno.ENOKEY,))


@attack("Sets up io_uring, which does calls that no filter sees", proof=off("resource_limits", "seccomp"))
def io_uring(_):
    descriptor = call("io_uring_setup", 1, ctypes.create_string_buffer(120))
    os.close(descriptor)
    return f"descriptor {descriptor}"


@attack("Handles page faults itself, to hold the kernel in the middle of something", proof=off("seccomp"))
def userfaultfd(_):
    descriptor = call("userfaultfd", 1)  # UFFD_USER_MODE_ONLY: what every user may have
    os.close(descriptor)
    return f"descriptor {descriptor}"


@attack("Counts events of the processor (CVE-2013-2094)", proof=off("seccomp"))
def perf_event(_):
    attributes = struct.pack("<IIQQQQQ", 1, 112, 0, 0, 0, 0, 1 | 1 << 5 | 1 << 6).ljust(112, b"\0")
    descriptor = call("perf_event_open", attributes, 0, -1, -1, 0)
    os.close(descriptor)
    return f"descriptor {descriptor}"


@attack("Makes a map of BPF", proof=bare("root"))
def bpf(_):
    descriptor = call("bpf", 0, struct.pack("<IIII", 2, 4, 4, 1).ljust(120, b"\0"), 120)
    os.close(descriptor)
    return f"descriptor {descriptor}"


@attack("Brings code into the kernel, in every way that there is", proof=bare("root"))
def kernel_code(_):
    ways = {
        "init_module": lambda: reached("init_module", b"\x7fELF", 4, b"", answers=(errno.ENOEXEC,)),
        "finit_module": lambda: reached("finit_module", 0, b"", 0, answers=(errno.ENOEXEC, errno.EINVAL)),
        "delete_module": lambda: reached("delete_module", b"sandbox_none", os.O_NONBLOCK, answers=(errno.ENOENT,)),
        "kexec_file_load": lambda: reached("kexec_file_load", -1, -1, 0, b"", 0, answers=(errno.EBADF,)),
        "bpf": lambda: bpf(_),
    }
    return any_of(lambda name: ways[name](), ways)


@attack("Traces a child, which could call what the tracer cannot (before Linux 4.8)", proof=off("seccomp"))
def trace_a_child(_):
    return in_child(lambda: f"PTRACE_TRACEME gave {call('ptrace', 0, 0, 0, 0)}")


@attack("Reads memory by process number", proof=off("seccomp"))
def read_memory_by_number(_):
    source, target = ctypes.create_string_buffer(b"found"), ctypes.create_string_buffer(6)
    vectors = [struct.pack("<QQ", ctypes.addressof(buffer), 6) for buffer in (target, source)]
    call("process_vm_readv", os.getpid(), vectors[0], 1, vectors[1], 1, 0)
    return target.value.decode()


@attack("Compares what two processes share, which tells where the kernel keeps it", proof=off("seccomp"))
def compare_processes(_):
    return f"kcmp gave {call('kcmp', os.getpid(), os.getpid(), 0, 1, 2)}"


@attack("Takes a descriptor out of a process", proof=off("seccomp"))
def take_descriptor(_):
    process = call("pidfd_open", os.getpid(), 0)
    try:
        descriptor = call("pidfd_getfd", process, 0, 0)
        os.close(descriptor)
    finally:
        os.close(process)
    return f"descriptor {descriptor}"


@attack("Turns the randomisation of addresses off", proof=off("seccomp"))
def personality(_):
    before = call("personality", 0xFFFF_FFFF)
    call("personality", before | 0x004_0000)
    call("personality", before)
    return "addresses of the next program would not be random"


@attack("Lets data be executed in every program that it starts", proof=off("seccomp"))
def executable_data(_):
    before = call("personality", 0xFFFF_FFFF)
    call("personality", before | 0x040_0000)
    call("personality", before)
    return "READ_IMPLIES_EXEC was set"


@attack("Looks at its local descriptor table (CVE-2015-5157)", proof=off("seccomp"), machines=X86)
def segments(_):
    return f"modify_ldt gave {call('modify_ldt', 0, ctypes.create_string_buffer(64), 64)}"


@attack("Reaches for ports and obsolete calls of its architecture", proof=off("seccomp"), machines=X86, ends=KILLED)
def obsolete_calls(_):
    ways = {
        "iopl": lambda: reached(172, 0),
        "ioperm": lambda: reached(173, 0x80, 1, 0),
        "uselib": lambda: reached(134, b"/nonexistent", answers=(errno.ENOENT,)),
        "ustat": lambda: reached("ustat", 0, ctypes.create_string_buffer(32), answers=(errno.EINVAL,)),
        "sysfs": lambda: reached("sysfs", 3),
    }
    return any_of(lambda name: ways[name](), ways)


@attack("Makes a 32-bit call, whose numbers mean other things", proof=off("seccomp"), machines=X86, ends=KILLED)
def call_of_32_bits(_):
    number = run_machine_code(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
    if number < 0:
        raise OSError(-number, os.strerror(-number))
    return f"getpid gave {number}"


@attack("Makes a socket of the internet by the 32-bit socketcall", proof=off("seccomp"), machines=X86, ends=KILLED)
def socket_of_32_bits(_):
    # mov eax, 102 (socketcall); push rbx; mov ebx, 1 (socket); lea rcx, [rip + 9]; int 0x80; pop rbx; ret; arguments
    code = b"\xb8\x66\x00\x00\x00\x53\xbb\x01\x00\x00\x00\x48\x8d\x0d\x04\x00\x00\x00\xcd\x80\x5b\xc3"
    descriptor = run_machine_code(code + struct.pack("<III", 2, 1, 0))
    if descriptor < 0:
        raise OSError(-descriptor, os.strerror(-descriptor))
    os.close(descriptor)
    return f"descriptor {descriptor}"


@attack("Makes an x32 call, then a 32-bit one", proof=off("seccomp"), machines=X86, ends=KILLED)
def call_of_x32(_):
    try:
        return f"getpid gave {call(0x4000_0000 + 39)}"
    except OSError:
        return call_of_32_bits(_)


@attack("Puts a character into a terminal's input (CVE-2017-5226)", proof=off("seccomp"))
def type_into_terminal(_):
    try:
        fcntl.ioctl(0, termios.TIOCSTI, b"x")
    except OSError as error:
        if error.errno == errno.ENOTTY:
            return "descriptor 0 is no terminal, but the kernel looked"
        raise
    return "typed"


@attack("The same, with bits that only a filter sees (CVE-2019-7303, CVE-2019-10063)", proof=off("seccomp"))
def type_with_high_bits(_):
    return reached("ioctl", 0, 1 << 32 | 0x5412, b"x", answers=(errno.ENOTTY,))


@attack("Controls a virtual console: TIOCLINUX", proof=off("seccomp"))
def virtual_console(_):
    return reached("ioctl", 0, 0x541C, b"\2", answers=(errno.ENOTTY,))


def _install_filter(flags: int) -> int:
    allow = ctypes.create_string_buffer(struct.pack("<HBBI", 6, 0, 0, 0x7FFF_0000))
    program = struct.pack("<HxxxxxxQ", 1, ctypes.addressof(allow))
    return call("seccomp", 1, flags, program)


@attack("Listens to its own filter of calls, which would let it answer them", proof=off("seccomp"))
def filter_listener(_):
    return in_child(lambda: f"descriptor {_install_filter(8)}")


@attack("Puts a filter that allows everything on top of its own", proof=off("seccomp"))
def second_filter(_):
    return in_child(lambda: f"seccomp gave {_install_filter(0)}, mode {status('Seccomp')}")


@attack("Runs without a filter of calls", proof=off("seccomp"))
def without_filter(_):
    return None if status("Seccomp") == "2" else f"mode {status('Seccomp')}"


@attack("Mounts something of its own", proof=off(*MOUNTS))
def mount(_):
    os.makedirs("/tmp/mount", exist_ok=True)
    call("mount", b"none", b"/tmp/mount", b"tmpfs", 0, None)
    return "a tmpfs"


@attack("Mounts with the new calls, which old filters do not know", proof=off(*MOUNTS))
def mount_with_new_calls(_):
    system = call("fsopen", b"tmpfs", 0)
    call("fsconfig", system, 6, None, None, 0)
    made = call("fsmount", system, 0, 0)
    os.makedirs("/tmp/new", exist_ok=True)
    call("move_mount", made, b"", AT_FDCWD, b"/tmp/new", 4)
    return "a tmpfs"


@attack("Takes a copy of a mount for itself", proof=off(*MOUNTS))
def copy_mount(_):
    clone_all = 0x1 | 0x8000  # OPEN_TREE_CLONE, AT_RECURSIVE: what is below is not to be uncovered
    return f"descriptor {call('open_tree', AT_FDCWD, b'/', clone_all)}"


@attack("Mounts an overlay (CVE-2021-3493, CVE-2023-0386)", proof=off(*MOUNTS))
def mount_overlay(_):
    for name in ("lower", "upper", "work", "merged"):
        os.makedirs(f"/tmp/{name}", exist_ok=True)
    call("mount", b"o", b"/tmp/merged", b"overlay", 0, b"lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work")
    return "an overlay"


@attack("Unmounts what hides something", proof=off(*MOUNTS))
def unmount(_):
    call("umount2", b"/tmp", 2)
    return "/tmp is gone"


@attack("Shows all of its process table in a /proc of its own", proof=off(*MOUNTS))
def own_proc(_):
    os.makedirs("/tmp/proc", exist_ok=True)
    call("mount", b"proc", b"/tmp/proc", b"proc", 0, b"subset=pid")
    return "process 1 is seen" if os.path.exists("/tmp/proc/1/status") else None


@attack("Moves to another root", proof=off(*MOUNTS))
def pivot(_):
    os.makedirs("/tmp/root", exist_ok=True)
    call("mount", b"none", b"/tmp/root", b"tmpfs", 0, None)
    os.makedirs("/tmp/root/old")

    def change():
        call("pivot_root", b"/tmp/root", b"/tmp/root/old")
        os.chdir("/")
        return f"the root is now {os.listdir('/')}"

    return in_child(change)


@attack("Mounts control groups, whose release agent runs on the host (CVE-2022-0492)", proof=off(*MOUNTS))
def mount_control_groups(_):
    os.makedirs("/tmp/groups", exist_ok=True)
    kinds = [(b"cgroup2", None), *((b"cgroup", name) for name in (b"memory", b"pids", b"cpu", b"none,name=systemd"))]
    return any_of(lambda kind: f"mounted ({call('mount', b'g', b'/tmp/groups', kind[0], 0, kind[1])})", kinds)


@attack("Lists its mounts with calls that need no rights", proof=off("seccomp"))
def list_mounts(_):
    request = struct.pack("<IIQQ", 24, 0, 2**64 - 1, 0)
    ways = {
        "listmount": lambda: f"{call('listmount', request, ctypes.create_string_buffer(8192), 1024, 0)} mounts",
        "open_tree": lambda: f"descriptor {call('open_tree', AT_FDCWD, b'/', os.O_CLOEXEC)}",
    }
    return any_of(lambda name: ways[name](), ways)


@attack("Watches files that it shares with others: learns when their requests come", proof=off("seccomp"))
def watch_files(_):
    watcher = call("inotify_init1", 0)
    try:
        call("inotify_add_watch", watcher, os.fsencode(os.path.dirname(os.__file__)), 0x21)
    finally:
        os.close(watcher)
    return "the interpreter's library is watched"


@attack("The same, with the call that watches whole file systems", proof=off("seccomp"))
def watch_file_system(_):
    descriptor = call("fanotify_init", 0x200, 0)
    os.close(descriptor)
    return f"descriptor {descriptor}"


@attack("The same, with the signal of old", proof=off("seccomp"))
def watch_by_signal(_):
    descriptor = os.open(os.path.dirname(os.__file__), os.O_RDONLY)
    try:
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        fcntl.fcntl(descriptor, 1026, 0x1 | 0x80000000 - (1 << 32))  # F_NOTIFY, DN_ACCESS | DN_MULTISHOT
    finally:
        os.close(descriptor)
    return "the interpreter's library is watched"


@attack("Looks at quotas", proof=off("seccomp"))
def quotas(_):
    return f"Q_SYNC gave {call('quotactl', 0x800001 << 8, None, 0, None)}"


@attack("Restarts the machine", proof=off(*INSIDE_ROOT))
def restart_machine(_):
    return reached("reboot", 0xDEAD, 0, 0, None, answers=(errno.EINVAL,))


@attack("Renames the host", proof=off(*INSIDE_ROOT))
def rename_host(_):
    before = os.uname().nodename.encode()
    call("sethostname", b"renamed", 7)
    after = os.uname().nodename
    call("sethostname", before, len(before))
    return f"it was called {after}"


@attack("Sets the clock", proof=off("seccomp"))
def set_clock(_):
    return reached("clock_settime", 0, struct.pack("<qq", 0, -1), answers=(errno.EINVAL,))


@attack("Reads the kernel's log", proof=bare("root"))
def kernel_log(_):
    buffer = ctypes.create_string_buffer(256)
    return f"{call('syslog', 3, buffer, 256)} bytes: {buffer.raw[:40]!r}"


@attack("Swaps memory to a file", proof=bare("root"))
def swap(_):
    return reached("swapon", b"/nonexistent", 0, answers=(errno.ENOENT,))


@attack("Has every process of the machine written down", proof=bare("root"))
def accounting(_):
    return reached("acct", b"/nonexistent", answers=(errno.ENOENT,))


@attack("Has all disks of the host written out, over and over", proof=off("seccomp"))
def write_out_disks(_):
    return f"sync gave {call('sync')}"


@attack("The same, for the disk of the interpreter", proof=off("seccomp"))
def write_out_disk(_):
    descriptor = os.open(os.__file__, os.O_RDONLY)
    try:
        return f"syncfs gave {call('syncfs', descriptor)}"
    finally:
        os.close(descriptor)


@attack("Has memory that the kernel itself cannot see", proof=off("seccomp"))
def secret_memory(_):
    descriptor = call("memfd_secret", 0)
    os.close(descriptor)
    return f"descriptor {descriptor}"


@attack("Locks memory, so that it cannot be swapped", proof=bare("root"))
def lock_memory(_):
    size = 16 << 20
    buffer = ctypes.create_string_buffer(size)
    call("mlock", ctypes.addressof(buffer), size)
    libc.munlock(ctypes.c_void_p(ctypes.addressof(buffer)), ctypes.c_size_t(size))
    return "16 MiB"


NEWEST = (442, 443, 444, 445, 446, 447, 448, 450, 451, 453, *range(457, 462), *range(463, 480))
"""System calls since Linux 5.12 that no endpoint needs; not those that a C library may use when it is there."""


@attack("Makes calls that are newer than any list of calls", proof=off("seccomp"))
def newest_calls(_):
    answered = {}
    for number in NEWEST:
        try:
            result = call(number, 0, 0, 0, 0, 0, 0)
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.ENOSYS, errno.EACCES}:
                answered[number] = error.errno
        else:
            answered[number] = -result
    return ", ".join(f"{number}: {code}" for number, code in answered.items())


@attack("Finds a shared memory of System V that the host has made", proof=off("ipc_namespace", "seccomp"))
def shared_memory_of_host(target):
    return f"segment {call('shmget', target['sysv_key'], 1, 0)}"


@attack("Opens a message queue that the host has made", proof=off("ipc_namespace", "landlock", "seccomp"))
def queue_of_host(target):
    descriptor = call("mq_open", os.fsencode(target["queue"]), os.O_RDONLY, 0, None)
    os.close(descriptor)
    return f"descriptor {descriptor}"


@attack("Rewrites the kernel's own record of its process", proof=off("seccomp"))
def rewrite_process(_):
    """What may be rewritten without rights is given all at once; to ask how much that is changes nothing."""
    size = ctypes.c_uint()
    control(35, 15, ctypes.addressof(size))  # PR_SET_MM, PR_SET_MM_MAP_SIZE
    return f"a record of {size.value} bytes would be taken"

"""Attacks on other processes: the worker's parent, the service, and whoever else runs on the host.

The parent stands for all of them: inside of the sandbox it is process 1, the slot; outside it is a process that the
tests have put there.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import struct
import time

from attacks import any_of, attack, bare, off
from attacks.calls import call, in_child, parent, read, writable


def _parent_file(name: str) -> str | None:
    return any_of(lambda process: read(f"/proc/{process}/{name}"), sorted({1, parent()}))


def _parent_link(name: str) -> str | None:
    return any_of(lambda process: os.readlink(f"/proc/{process}/{name}"), sorted({1, parent()}))


@attack("Reads the environment of process 1", proof=bare())
def read_parent_environment(_):
    return _parent_file("environ")


@attack("Reads the command line of process 1", proof=bare())
def read_parent_command(_):
    return _parent_file("cmdline")


@attack("Reads where in memory process 1 has what", proof=bare())
def read_parent_maps(_):
    return _parent_file("maps")


@attack("Reads the status of process 1", proof=bare())
def read_parent_status(_):
    return _parent_file("status")


@attack("Reads the auxiliary vector of process 1, which tells of its addresses and random bytes", proof=bare())
def read_parent_vector(_):
    return _parent_file("auxv")


@attack("Reads in which system call process 1 is, and with which pointers", proof=bare())
def read_parent_call(_):
    return _parent_file("syscall")


def _memory_of(process: int, flags: int = os.O_RDONLY) -> int:
    return os.open(f"/proc/{process}/mem", flags)


@attack("Reads the memory of process 1", proof=bare())
def read_parent_memory(_):
    def look(process: int) -> str:
        descriptor = _memory_of(process)
        try:
            with open(f"/proc/{process}/maps") as file:
                start = int(file.readline().partition("-")[0], 16)
            return f"{os.pread(descriptor, 16, start)!r}"
        finally:
            os.close(descriptor)

    return any_of(look, [parent(), 1])


@attack("Opens the memory of process 1 for writing", proof=bare())
def write_parent_memory(_):
    return any_of(lambda process: writable(f"/proc/{process}/mem"), [parent(), 1])


@attack("Reads the memory of process 1 by number", proof=bare())
def read_parent_by_number(_):
    """At the address of an object of our own: forked processes have the same at the same place."""
    buffer = ctypes.create_string_buffer(8)
    vectors = [struct.pack("<QQ", address, 8) for address in (ctypes.addressof(buffer), id(None))]
    call("process_vm_readv", parent(), vectors[0], 1, vectors[1], 1, 0)
    return f"{buffer.raw!r}"


@attack("Looks at the host's files through the root of process 1", proof=bare())
def root_of_parent(_):
    return any_of(lambda process: f"{os.listdir(f'/proc/{process}/root/')}", [parent(), 1])


@attack("Looks at the working directory of process 1", proof=bare())
def folder_of_parent(_):
    return _parent_link("cwd")


@attack("Finds out which program process 1 runs", proof=bare())
def program_of_parent(_):
    return _parent_link("exe")


@attack("Looks at the descriptors of process 1", proof=bare())
def descriptors_of_parent(_):
    return any_of(lambda process: f"{os.listdir(f'/proc/{process}/fd')}", [parent(), 1])


def _opened(path: str) -> str:
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    return f"{path} could be opened"


@attack("Opens a descriptor of process 1 anew", proof=bare())
def open_parent_descriptor(_):
    def look(process: int) -> str:
        return any_of(lambda number: _opened(f"/proc/{process}/fd/{number}"), range(16))

    return any_of(look, [parent(), 1])


@attack("Takes a descriptor out of process 1", proof=bare())
def take_parent_descriptor(_):
    process = call("pidfd_open", parent(), 0)
    try:
        return any_of(lambda number: f"descriptor {call('pidfd_getfd', process, number, 0)}", range(16))
    finally:
        os.close(process)


@attack("Traces process 1", proof=bare())
def trace_parent(_):
    victim = parent()
    return in_child(lambda: f"PTRACE_SEIZE gave {call('ptrace', 0x4206, victim, 0, 0)}")


@attack("Traces the supervisor", proof=bare())
def trace_supervisor(target):
    return in_child(lambda: f"PTRACE_SEIZE gave {call('ptrace', 0x4206, target['supervisor'], 0, 0)}")


@attack("Asks the kernel what process 1 and itself share", proof=bare())
def compare_with_parent(_):
    return f"kcmp gave {call('kcmp', os.getpid(), parent(), 0, 1, 1)}"


@attack("Asks for addresses in the memory of process 1: its list of robust futexes", proof=bare())
def futexes_of_parent(_):
    head, length = ctypes.c_void_p(), ctypes.c_size_t()
    call("get_robust_list", parent(), ctypes.byref(head), ctypes.byref(length))
    return f"{head.value}"


@attack("Has memory of process 1 thrown out to the disk", proof=bare())
def push_out_parent(_):
    process = call("pidfd_open", parent(), 0)
    try:
        vector = struct.pack("<QQ", id(None) & ~4095, 4096)
        return f"process_madvise gave {call('process_madvise', process, vector, 1, 20, 0)}"
    finally:
        os.close(process)


@attack("Kills its parent", proof=bare())
def kill_parent(_):
    victim = parent()
    os.kill(victim, signal.SIGKILL)
    return _gone(victim)


@attack("Kills its parent by a descriptor of it", proof=bare())
def kill_parent_by_descriptor(_):
    victim = parent()
    process = call("pidfd_open", victim, 0)
    call("pidfd_send_signal", process, signal.SIGKILL, None, 0)
    return _gone(victim)


@attack("Has the kernel kill its parent, when a pipe of its own becomes readable", proof=bare())
def kill_parent_by_pipe(_):
    victim = parent()
    reads, writes = os.pipe()
    fcntl.fcntl(reads, fcntl.F_SETOWN, victim)
    fcntl.fcntl(reads, 10, signal.SIGKILL)  # F_SETSIG
    fcntl.fcntl(reads, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(writes, b"x")
    return _gone(victim)


def _gone(victim: int) -> str | None:
    for _ in range(20):
        if os.getppid() != victim:
            return f"{victim} has ended"
        time.sleep(0.01)
    return None


@attack("Stops its parent", proof=bare())
def stop_parent(_):
    victim = parent()
    os.kill(victim, signal.SIGSTOP)
    try:
        for _ in range(20):
            with open(f"/proc/{victim}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "T":
                    return f"{victim} is stopped"
            time.sleep(0.01)
    finally:
        os.kill(victim, signal.SIGCONT)
    return None


@attack("Signals the supervisor", proof=bare())
def signal_supervisor(target):
    os.kill(target["supervisor"], 0)
    return "it may be signalled"


@attack("Signals the supervisor by a descriptor of it", proof=bare())
def signal_supervisor_by_descriptor(target):
    process = call("pidfd_open", target["supervisor"], 0)
    call("pidfd_send_signal", process, 0, None, 0)
    return "it may be signalled"


@attack("Signals any process below the supervisor: zygotes, slots, workers of others", proof=bare())
def signal_others(target):
    def strike(process: int) -> str:
        os.kill(process, 0)
        return "it may be signalled"

    return any_of(strike, target["processes"])


@attack("Kills everything that it can see", proof=bare())
def kill_all(_):
    os.kill(-1, 0)
    return "there is somebody to kill"


@attack("Is in a group or a session with others, such as the one who has forked it", proof=bare())
def share_a_group(_):
    found = {"group": os.getpgid(0), "session": os.getsid(0)}
    return f"{found}" if set(found.values()) != {os.getpid()} else None


@attack("Lists the processes of others", proof=bare())
def list_processes(_):
    others = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {os.getpid()}
    return f"{sorted(others)[:20]}" if others else None


@attack("Finds the processes of others by trying all numbers", proof=bare())
def find_processes(_):
    found = []
    for number in range(2, 4096):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            continue
        except PermissionError:
            pass
        if not os.path.exists(f"/proc/self/task/{number}"):
            found.append(number)
    return f"{found[:20]}" if found else None


@attack("Sees by its own number how many have been here before", proof=bare())
def count_predecessors(_):
    return None if os.getpid() == 2 else f"its number is {os.getpid()}"


@attack("Sees by its child's number how many have been here before", proof=bare())
def count_by_child(_):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return None if pid == 3 else f"the child's number is {pid}"


@attack("Slows process 1 down", proof=bare())
def slow_parent(_):
    os.setpriority(os.PRIO_PROCESS, parent(), os.getpriority(os.PRIO_PROCESS, parent()))
    return "its priority could be set"


@attack("Takes processors away from process 1", proof=bare())
def pin_parent(_):
    os.sched_setaffinity(parent(), os.sched_getaffinity(parent()))
    return "its processors could be set"


@attack("Gives process 1 another scheduling policy", proof=bare())
def schedule_parent(_):
    os.sched_setscheduler(parent(), os.SCHED_OTHER, os.sched_param(0))
    return "its policy could be set"


@attack("Lets process 1 wait for disks", proof=bare())
def starve_parent(_):
    call("ioprio_set", 1, parent(), 0)
    return "its disk priority could be set"


@attack("Takes limits from process 1: descriptors, processes", proof=bare())
def limit_parent(_):
    limits = resource.prlimit(parent(), resource.RLIMIT_NOFILE)
    resource.prlimit(parent(), resource.RLIMIT_NOFILE, limits)
    return f"they could be set: {limits}"


@attack("Gets before all others on the processor", proof=bare("root"))
def real_time(_):
    return in_child(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)) or "SCHED_FIFO")


@attack("Gets a better priority than others", proof=bare("root"))
def better_priority(_):
    return in_child(
        lambda: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 1) or "one step better"
    )


@attack("Has others killed before itself when memory is short", proof=bare())
def survive_others(_):
    """Outside, the tests have raised the score, and have not taken the right to lower it again."""

    def lower(by: int) -> str:
        with open("/proc/self/oom_score_adj", "r+") as file:
            score = max(-1000, int(file.read()) - by)
            file.seek(0)
            file.write(str(score))
        return f"oom_score_adj is {score}"

    return any_of(lambda by: in_child(lambda: lower(by)), (2000, 1))


@attack("Gets away from its parent: a daemon, adopted by somebody else", proof=bare())
def get_away(_):
    family = {os.getpid(), parent()}
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        middle = os.getpid()
        if os.fork() == 0:
            os.setsid()
            for _ in range(200):
                if os.getppid() != middle:
                    break
                time.sleep(0.005)
            os.write(writes, str(os.getppid()).encode())
        os._exit(0)
    os.close(writes)
    os.waitpid(pid, 0)
    with open(reads) as file:
        adopter = int(file.read())
    return None if adopter in family else f"adopted by {adopter}"


@attack("Leaves a core dump", proof=off("resource_limits"))
def dump_core(_):
    """Who executes a program can be dumped again, whatever was forbidden before."""
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir("/tmp")
            _, most = resource.getrlimit(resource.RLIMIT_CORE)
            resource.setrlimit(resource.RLIMIT_CORE, (most, most))
            os.execv("/bin/sh", ["sh", "-c", "kill -SEGV $$"])
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return f"{os.listdir('/tmp')}" if os.WCOREDUMP(status) else None


@attack("Raises its limits", proof=off("resource_limits"))
def raise_limits(_):
    most = resource.getrlimit(resource.RLIMIT_CORE)[1], resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    return f"core dumps {most[0]}, files {most[1]}" if resource.RLIM_INFINITY in most else None

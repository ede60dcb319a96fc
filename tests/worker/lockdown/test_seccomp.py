"""The filter of system calls: that the programs are the policy, and what the kernel makes of them."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.compile_seccomp import ARCHITECTURES, COMPILED_WITH, Comparison, Library, make_rules, program_path
from scripts.seccomp_policy import (
    ALLOW,
    BY_ARGUMENT,
    FOR_BUILDS,
    KINDS,
    PRETEND,
    UNKNOWN,
    WHOLE_REGISTER,
    ByArgument,
    Decision,
    decide,
    decisions,
)
from tests.worker.forked import in_child, status_field
from tests.worker.lockdown.bpf import KILL, simulate
from worker.lockdown.credentials import forbid_new_privileges
from worker.lockdown.seccomp import Program, UnsupportedMachineError, load_program

ROOT: Final = Path(__file__).parents[3]
MACHINE: Final = os.uname().machine
X32: Final = 0x4000_0000
FOREIGN: Final = {"i386": 0x4000_0003, "arm": 0x4000_0028, "x86_64": 0xC000_003E, "aarch64": 0xC000_00B7, "mips": 8}

T = TypeVar("T")
MACHINES = pytest.mark.parametrize("machine", ARCHITECTURES)
KINDS_OF_PROGRAMS = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="session")
def library() -> Library:
    """libseccomp, which knows the numbers and compiles."""
    try:
        return Library()
    except OSError as error:
        if os.environ.get("SANDBOX_MUST_WORK") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def numbers(library: Library) -> dict[str, int]:
    """The numbers of system calls here."""
    return library.numbers(MACHINE)


# The programs are the policy


@KINDS_OF_PROGRAMS
@MACHINES
def test_the_programs_are_a_fresh_compilation(library: Library, machine: str, kind: str) -> None:
    """Byte for byte, where libseccomp has the version that compiled them."""
    fresh = library.compile(machine, decisions(kind))
    if library.version() == COMPILED_WITH:
        assert program_path(machine, kind).read_bytes() == fresh, "run `make seccomp`"


@MACHINES
def test_everything_known_is_decided(library: Library, machine: str) -> None:
    """The tables have every system call of which libseccomp has heard."""
    assert set(library.numbers(machine)) <= set(decisions())


@KINDS_OF_PROGRAMS
@MACHINES
def test_every_number_is_decided_as_the_tables_say(library: Library, machine: str, kind: str) -> None:
    """For all numbers there are and many there are not, called with zeros."""
    program = program_path(machine, kind).read_bytes()
    policy = decisions(kind)
    table = {number: decide(policy[name], [0] * 6) for name, number in library.numbers(machine).items()}
    for number in [*range(1100), 0x3FFF_FFFF]:
        assert simulate(program, ARCHITECTURES[machine], number) == table.get(number, UNKNOWN), number


def values_of_interest(decision: Decision) -> Iterator[int]:
    """Values of arguments at which a decision could be wrong: cases, their neighbours, single bits, upper halves."""
    if isinstance(decision, ByArgument):
        cases = [*decision.cases, decision.mask, 0]
        for case in cases:
            yield from (case, case - 1, case + 1, case | 1 << 32, case | 1 << 63, case ^ 0x8000_0000, -case)
            yield from (case ^ 1 << bit for bit in (*range(13), 16, 17, 20, 29))
        for below in decision.cases.values():
            yield from values_of_interest(below)


@pytest.mark.parametrize(
    ("kind", "name"), [("worker", name) for name in BY_ARGUMENT] + [("build", name) for name in FOR_BUILDS]
)
@MACHINES
def test_arguments_decide_as_the_tables_say(library: Library, machine: str, kind: str, name: str) -> None:
    """For every value at which something changes, and those around it, in the argument and in the next one."""
    program, decision = program_path(machine, kind).read_bytes(), decisions(kind)[name]
    assert isinstance(decision, ByArgument)
    if name not in library.numbers(machine):
        return  # there is none on this machine
    number = library.numbers(machine)[name]
    values = {value & WHOLE_REGISTER for value in values_of_interest(decision)}
    for value in values:
        for other in (0, WHOLE_REGISTER):
            arguments = [other] * 6
            arguments[decision.argument] = value
            assert simulate(program, ARCHITECTURES[machine], number, arguments) == decide(decision, arguments), value


@MACHINES
def test_foreign_architectures_die(machine: str) -> None:
    """Calls in the manner of other processors end the process, whatever their number, those of x32 as well."""
    program = program_path(machine).read_bytes()
    for name, architecture in FOREIGN.items():
        if name != machine:
            assert {simulate(program, architecture, number) for number in range(0, 600, 7)} == {KILL}
    if machine == "x86_64":
        assert {simulate(program, ARCHITECTURES[machine], X32 | number) for number in range(0, 600, 7)} == {KILL}


small = st.integers(0, 20) | st.integers(0, 1 << 12) | st.integers(0, WHOLE_REGISTER)
answers = st.sampled_from([ALLOW, PRETEND, errno.EPERM, UNKNOWN])


@st.composite
def policies(draw: st.DrawFn) -> ByArgument:
    """Decisions by the first argument, some of them by the second as well."""
    mask = draw(st.just(WHOLE_REGISTER) | st.integers(1, 1 << 16))
    nested = st.builds(
        lambda cases, otherwise: ByArgument(argument=1, cases=cases, otherwise=otherwise),
        st.dictionaries(small, answers, min_size=1, max_size=3),
        answers,
    )
    cases = draw(st.dictionaries(small.map(lambda value: value & mask), answers | nested, min_size=1, max_size=6))
    return ByArgument(argument=0, mask=mask, cases=cases, otherwise=draw(answers))


def holds(comparison: Comparison, arguments: tuple[int, int]) -> bool:
    """Whether a condition of a rule is met."""
    value = arguments[comparison.argument]
    return value > comparison.wanted if comparison.mask is None else value & comparison.mask == comparison.wanted


@settings(max_examples=40, deadline=None)
@given(policies(), small, small)
def test_one_rule_holds_and_is_right(policy: ByArgument, first: int, second: int) -> None:
    """Of the rules that are made of a decision, one at most holds, and it has the answer; if none, it is UNKNOWN."""
    for value in (first, second, *policy.cases):
        arguments = (value, second)
        found = [answer for answer, given in make_rules(policy) if all(holds(each, arguments) for each in given)]
        assert (found or [UNKNOWN]) == [decide(policy, arguments)]


# What the kernel makes of them


def filtered(function: Callable[[], T]) -> T:
    """Run a function in a forked child, behind the filter."""
    program = load_program()

    def child() -> T:
        forbid_new_privileges()
        program.install()
        return function()

    return in_child(child)


def call(number: int, *arguments: int) -> int:
    """Make a system call behind the filter; 0, or what is in errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    return ctypes.get_errno() if result == -1 else 0


REFUSED: Final = {
    errno.EPERM: """
        unshare setns mount umount2 pivot_root chroot fsopen fsmount fsconfig fspick open_tree move_mount mount_setattr
        bpf perf_event_open keyctl add_key request_key ptrace process_vm_readv process_vm_writev process_madvise
        process_mrelease kcmp pidfd_getfd kexec_load kexec_file_load init_module finit_module delete_module reboot
        swapon swapoff acct quotactl settimeofday clock_settime adjtimex clock_adjtime open_by_handle_at
        name_to_handle_at fanotify_init sync syncfs sysinfo syslog sethostname setdomainname setuid setgid setgroups
        setresuid setresgid capset seccomp move_pages migrate_pages ioprio_set vhangup""",
    errno.ENOSYS: """
        clone3 memfd_create memfd_secret io_uring_setup io_uring_enter io_uring_register userfaultfd io_setup
        inotify_init1 inotify_add_watch shmget semget msgget mq_open landlock_create_ruleset mbind set_mempolicy
        membarrier futex_waitv""",
    errno.EINVAL: "splice tee vmsplice",
    errno.EOPNOTSUPP: "setxattr fsetxattr removexattr",
    0: "fsync fdatasync msync sync_file_range fadvise64 readahead flock",
}
"""What must be refused, or done for show, said again without the policy."""


def test_what_is_refused(numbers: dict[str, int]) -> None:
    """Each of these calls gets its error, with arguments that would get another one without the filter, or succeed."""
    wanted = {name: answer for answer, names in REFUSED.items() for name in names.split()}

    seen = filtered(lambda: {name: call(numbers[name], 0, 0, 0, 0, 0, 0) for name in wanted})

    assert wanted == seen


def test_all_that_the_tables_refuse(numbers: dict[str, int]) -> None:
    """Every system call that is refused by its name, and numbers that nobody knows yet."""
    policy = {name: decision for name, decision in decisions().items() if decision != ALLOW and name in numbers}
    wanted = {name: decision for name, decision in policy.items() if not isinstance(decision, ByArgument)}

    seen, unknown = filtered(
        lambda: (
            {name: call(numbers[name], 0, 0, 0, 0, 0, 0) for name in wanted},
            [call(470), call(600), call(1 << 20)],
        )
    )

    assert wanted == seen
    assert unknown == [errno.ENOSYS] * 3


NOWHERE: Final = 1 << 20
"""The number of no descriptor."""
SOL_SOCKET: Final = 1
UPPER: Final = 1 << 32

ARGUMENTS: Final[tuple[tuple[str, tuple[int, ...], int], ...]] = (
    *(("clone", (flag | signal.SIGCHLD,), errno.EPERM) for flag in (1 << 17, *(1 << bit for bit in range(25, 31)))),
    ("clone", (0x8000 | signal.SIGCHLD,), errno.EPERM),
    ("clone", (0x1_0000,), errno.EINVAL),  # CLONE_THREAD alone: the kernel's answer
    *(("socket", (family, kind), errno.EAFNOSUPPORT) for family in range(2, 46) for kind in (1, 2, 3)),
    ("socket", (0, 1), errno.EAFNOSUPPORT),
    ("socket", (UPPER | 1, 1), errno.EAFNOSUPPORT),
    *(("socket", (1, kind), 0) for kind in (1, 2, 5)),
    ("socket", (1, 4), errno.ESOCKTNOSUPPORT),
    ("socketpair", (2, 1), errno.EAFNOSUPPORT),
    ("socketpair", (1, 1), errno.EFAULT),
    ("prlimit64", (0, 7), 0),
    ("prlimit64", (1, 7), errno.EPERM),
    ("sched_setaffinity", (0, 0), errno.EINVAL),
    ("sched_setaffinity", (1, 0), errno.EPERM),
    ("sched_setscheduler", (0, 0), errno.EINVAL),
    ("sched_setscheduler", (1, 0), errno.EPERM),
    ("sched_setparam", (1, 0), errno.EPERM),
    ("sched_setattr", (1, 0), errno.EPERM),
    ("setpriority", (0, 0, 19), 0),
    ("setpriority", (0, 1, 19), errno.EPERM),
    ("setpriority", (1, 0, 19), errno.EPERM),
    ("setpriority", (2, 0, 19), errno.EPERM),
    ("mmap", (0, 1 << 21, 3, 0x22 | 0x4_0000, -1, 0), errno.ENOMEM),
    ("mmap", (0, 4096, 3, 0x22, -1, 0), 0),
    *(("madvise", (0, 4096, advice), errno.EINVAL) for advice in (5, 12, 13, 20, 21, 25, 100, 101, 104, 999)),
    ("madvise", (0, 4096, 4), errno.ENOMEM),
    *(("futex", (0, command), errno.ENOSYS) for command in (2, 6, 7, 8, 11, 12, 13, 134, 140)),
    ("futex", (0, 1), errno.EFAULT),
    ("futex", (0, 129), 0),
    ("preadv2", (NOWHERE, 0, 0, 0, 0, 8), errno.ENOSYS),
    ("pwritev2", (NOWHERE, 0, 0, 0, 0, 8), errno.ENOSYS),
    ("pwritev2", (NOWHERE, 0, 0, 0, 0, 0x12), errno.EBADF),
    *(("fcntl", (NOWHERE, command), 0) for command in (6, 7, 37, 38)),
    *(("fcntl", (NOWHERE, command), errno.EPERM) for command in (8, 10, 15, 1024, 1026, 1031)),
    *(("fcntl", (NOWHERE, command), errno.EBADF) for command in (0, 1, 2, 3, 4, 5, 36, 1030, 1033)),
    ("fcntl", (NOWHERE, 1040), errno.EINVAL),
    *(("ioctl", (NOWHERE, request), errno.EBADF) for request in (0x5401, 0x5413, 0x541B, 0x5421, 0x5451)),
    *(("ioctl", (NOWHERE, request), errno.EOPNOTSUPP) for request in (0x5412, 0x541C, 0x8912, 0x4004_9409)),
    *(("setsockopt", (NOWHERE, SOL_SOCKET, option), errno.EBADF) for option in (2, 7, 20)),
    *(("setsockopt", (NOWHERE, SOL_SOCKET, option), errno.ENOPROTOOPT) for option in (26, 29, 36, 50, 51, 52)),
    ("sendto", (NOWHERE, 0, 0, 1), errno.EOPNOTSUPP),
    ("sendto", (NOWHERE, 0, 0, 0x4000), errno.EBADF),
    ("sendmsg", (NOWHERE, 0, 1), errno.EOPNOTSUPP),
    ("sendmmsg", (NOWHERE, 0, 1, 1), errno.EOPNOTSUPP),
    *(("prctl", (option, 0), errno.EPERM) for option in (4, 8, 22, 24, 28, 35, 47, 53, 62)),
    *(("prctl", (option, 0), errno.EINVAL) for option in (31, 32, 57, 59, 65, 67, 0x5961_6D61, 0x5356_4D41)),
    *(("prctl", (option, 0), 0) for option in (3, 27, 30, 36)),
    ("prctl", (38, 1), 0),
    ("personality", (0xFFFF_FFFF,), 0),
    ("personality", (-1,), 0),
    ("personality", (0x004_0000,), errno.ENOSYS),
    ("personality", (8,), errno.ENOSYS),
    *(("mknodat", (-1, 0, kind | 0o600), errno.EPERM) for kind in (0x2000, 0x6000, 0x4000)),
    *(("mknodat", (-1, 0, kind | 0o600), errno.EFAULT) for kind in (0, 0x1000, 0x8000, 0xC000)),
)
"""(system call, arguments, error). Where the call is let through, the error is the kernel's own."""


def test_arguments_on_the_kernel(numbers: dict[str, int]) -> None:
    """Each rule about an argument, both ways."""

    def attempt() -> list[int]:
        return [call(numbers[name], *(*arguments, *[0] * (6 - len(arguments)))) for name, arguments, _ in ARGUMENTS]

    seen = filtered(attempt)

    assert list(ARGUMENTS) == [(name, given, got) for (name, given, _), got in zip(ARGUMENTS, seen, strict=True)]


def end_of(function: Callable[[], object]) -> int:
    """How a child ends that runs a function behind the filter: its status, or minus the signal that killed it."""
    program = load_program()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        forbid_new_privileges()
        program.install()
        function()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def call_in_32_bits() -> None:
    """Ask for the process id by `int 0x80`: mov eax, 20; int 0x80; ret."""
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()


def test_foreign_calls_kill() -> None:
    """System calls of x32 and of 32 bits end the process by SIGSYS; its own do not."""
    assert end_of(os.getpid) == 0
    if MACHINE == "x86_64":  # on aarch64, only a whole program of 32 bits can make foreign calls
        assert end_of(lambda: call(X32 | 39)) == -signal.SIGSYS
        assert end_of(lambda: call(X32 | 59, 0, 0, 0)) == -signal.SIGSYS
        assert end_of(call_in_32_bits) == -signal.SIGSYS


def refuses_internet() -> bool:
    """Whether sockets of the internet are refused to the calling thread."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as error:
        return error.errno == errno.EAFNOSUPPORT
    return False


def test_it_holds_for_threads_and_children() -> None:
    """For threads that there were before, for children, and for programs that they execute."""
    program = load_program()
    script = "import socket; socket.socket(socket.AF_INET)"

    def child() -> list[object]:
        go, seen = threading.Event(), list[object]()

        def older() -> None:
            go.wait()
            seen.append(refuses_internet())

        thread = threading.Thread(target=older)
        thread.start()
        forbid_new_privileges()
        program.install()
        go.set()
        thread.join()
        failed = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=False)
        return [*seen, in_child(refuses_internet), b"not supported" in failed.stderr, status_field("Seccomp")]

    assert in_child(child) == [True, True, True, "2"]


def test_it_needs_no_new_privileges() -> None:
    """Without them the kernel refuses a filter, and the error says so."""
    program = load_program()

    def child() -> str:
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        try:
            program.install()
        except OSError as error:
            return str(error)
        return "installed"

    assert in_child(child) == f"[Errno {errno.EACCES}] seccomp: {os.strerror(errno.EACCES)}"


def test_machines_without_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading says which machines there are programs for."""

    def look(machine: str) -> NoReturn:
        names = os.uname()
        with monkeypatch.context() as patch:
            patch.setattr("worker.lockdown.seccomp.os.uname", lambda: os.uname_result((*names[:4], machine)))
            load_program()
        raise AssertionError("loaded")

    with pytest.raises(UnsupportedMachineError, match="for riscv64, only for x86_64 and aarch64"):
        look("riscv64")
    monkeypatch.setattr("worker.lockdown.seccomp.sys.maxsize", (1 << 31) - 1)
    with pytest.raises(UnsupportedMachineError, match=f"32 bits, on {MACHINE}"):
        look(MACHINE)


@pytest.mark.parametrize("size", [0, 7, 12, 8 * 4097])
def test_broken_programs(size: int) -> None:
    """What is not a number of instructions that the kernel takes is refused before."""
    with pytest.raises(ValueError, match=f"a program of {size} bytes"):
        Program(bytes(size), MACHINE)


# What Python programs do

PRELUDE: Final = f"""
if __name__ == '__main__':
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    from worker.lockdown.credentials import forbid_new_privileges
    from worker.lockdown.seccomp import load_program
    forbid_new_privileges()
    load_program().install()
"""
"""Not in processes that import the script again: they have the filter, and no further one can be added."""

PROGRAMS: Final = {
    "threads": """
        import queue, threading
        from concurrent.futures import ThreadPoolExecutor
        lock = threading.Lock()
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(lambda n: n * n, range(100))) == 328350
        assert not threading.Event().wait(0.01)
        assert lock.acquire(timeout=0.01)
    """,
    "processes": """
        import os, signal, subprocess
        assert subprocess.run(["cat"], input=b"x", capture_output=True).stdout == b"x"
        assert subprocess.check_output("echo a; ls / | wc -l > /dev/null", shell=True) == b"a\\n"
        try:
            subprocess.run(["sleep", "9"], timeout=0.05)
        except subprocess.TimeoutExpired:
            pass
        child = subprocess.Popen(["sleep", "9"], start_new_session=True)
        child.terminate()
        assert child.wait() == -signal.SIGTERM
        pid = os.posix_spawn("/bin/true", ["true"], os.environ)
        assert os.waitpid(pid, 0)[1] == 0
        if (pid := os.fork()) == 0:
            os._exit(3)
        fd = os.pidfd_open(pid)
        assert os.waitid(os.P_PIDFD, fd, os.WEXITED).si_status == 3
    """,
    "asyncio": """
        import asyncio
        async def main():
            child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
            assert (await child.communicate(b"y"))[0] == b"y"
            server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), "socket")
            reader, writer = await asyncio.open_unix_connection("socket")
            assert await reader.read() == b""
            writer.close()
            server.close()
            assert await asyncio.to_thread(lambda: 1) == 1
            await asyncio.sleep(0.01)
        asyncio.run(main())
    """,
    "multiprocessing": """
        import multiprocessing as mp
        from multiprocessing import shared_memory
        context = mp.get_context("fork")
        with context.Pool(2) as pool:
            assert pool.map(abs, [-1, -2]) == [1, 2]
        with context.Manager() as manager:
            assert dict(manager.dict(a=1)) == {"a": 1}
        value = context.Value("i", 0)
        def count():
            with value.get_lock():
                value.value = 7
        child = context.Process(target=count)
        child.start(); child.join()
        assert value.value == 7
        memory = shared_memory.SharedMemory(create=True, size=100)
        memory.buf[0] = 1
        memory.close(); memory.unlink()
    """,
    "spawned processes": """
        import multiprocessing as mp
        for method in ("spawn", "forkserver"):
            with mp.get_context(method).Pool(1) as pool:
                assert pool.apply(abs, (-3,)) == 3
    """,
    "databases": """
        import dbm, shelve, sqlite3
        for mode in ("delete", "wal"):
            base = sqlite3.connect(mode)
            base.execute(f"pragma journal_mode={mode}")
            base.execute("create table t (x)")
            with base:
                base.executemany("insert into t values (?)", [(n,) for n in range(100)])
            other = sqlite3.connect(mode)
            assert other.execute("select sum(x) from t").fetchone() == (4950,)
            base.execute("vacuum")
        with shelve.open("shelf") as shelf:
            shelf["a"] = 1
    """,
    "files": """
        import mmap, os, pathlib, shutil, tarfile, tempfile, zipfile
        with tempfile.TemporaryDirectory(dir=".") as folder, tempfile.NamedTemporaryFile() as file:
            os.makedirs(f"{folder}/a/b")
            path = pathlib.Path(folder, "a", "f")
            path.write_bytes(b"x" * 100000)
            os.symlink("f", f"{folder}/a/l"); os.link(path, f"{folder}/a/h"); os.mkfifo(f"{folder}/a/p")
            os.chmod(path, 0o600); os.utime(path); os.truncate(path, 50000); os.sync()
            shutil.copy2(path, f"{folder}/c"); shutil.copystat(path, f"{folder}/c")
            if hasattr(path, "copy"):
                path.copy(f"{folder}/d", preserve_metadata=True)
            os.unlink(f"{folder}/a/p")
            shutil.make_archive(f"{folder}/z", "zip", f"{folder}/a")
            shutil.make_archive(f"{folder}/t", "gztar", f"{folder}/a")
            shutil.unpack_archive(f"{folder}/t.tar.gz", f"{folder}/u", filter="data")
            shutil.move(f"{folder}/u", f"{folder}/v"); shutil.rmtree(f"{folder}/v")
            with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
                view[0:1] = b"y"; view.flush(); os.fsync(file.fileno()); os.posix_fadvise(file.fileno(), 0, 0, 4)
                view.madvise(mmap.MADV_RANDOM)
            assert path.read_bytes()[:2] == b"yx"
            assert os.listxattr(path) == [] and shutil.disk_usage(folder).total
            with open(path, "rb") as source, open(f"{folder}/s", "wb") as target:
                assert os.copy_file_range(source.fileno(), target.fileno(), 10) == 10
                assert os.sendfile(target.fileno(), source.fileno(), 0, 10) == 10
        mmap.mmap(-1, 1 << 20).close()
    """,
    "locks": """
        import fcntl, os
        with open("lock", "w") as one, open("lock", "w") as two:
            fcntl.flock(one, fcntl.LOCK_EX); fcntl.lockf(one, fcntl.LOCK_EX)
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB); fcntl.lockf(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert os.get_blocking(0) in (True, False)
    """,
    "signals and clocks": """
        import signal, time
        ticks = []
        signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        while len(ticks) < 3:
            signal.pause()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.raise_signal(signal.SIGALRM)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        signal.pthread_kill(__import__("threading").get_ident(), signal.SIGUSR1)
        assert signal.sigwait([signal.SIGUSR1]) == signal.SIGUSR1
        time.sleep(0.001); time.process_time(); time.thread_time(); time.get_clock_info("monotonic")
    """,
    "sockets": """
        import selectors, socket
        one, two = socket.socketpair()
        one.sendall(b"x"); one.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(two, selectors.EVENT_READ)
            assert selector.select(1)
        socket.send_fds(two, [b"y"], [0]); assert socket.recv_fds(one, 1, 1)[1]
        listener = socket.socket(socket.AF_UNIX); listener.bind("local"); listener.listen()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); listener.settimeout(1)
        client = socket.socket(socket.AF_UNIX); client.connect("local"); listener.accept()[0].close()
        for attempt in (lambda: socket.create_connection(("127.0.0.1", 1)), lambda: socket.socket(socket.AF_NETLINK)):
            try:
                attempt()
            except OSError as error:
                assert error.errno == 97, error
            else:
                raise AssertionError
    """,
    "a machine's facts": """
        import getpass, os, platform, resource, sys
        os.cpu_count(); os.sched_getaffinity(0); os.uname(); platform.platform(); os.getgroups(); os.nice(0)
        resource.getrlimit(resource.RLIMIT_NOFILE); resource.getrusage(0); os.isatty(1); os.urandom(4); os.statvfs("/")
        os.sched_setaffinity(0, os.sched_getaffinity(0)); os.times(); os.getpriority(os.PRIO_PROCESS, 0)
        assert isinstance(os.sysconf("SC_PHYS_PAGES"), int)
    """,
    "imports": """
        import ssl, uuid, zoneinfo, locale, ctypes, curses, readline, decimal, hashlib, lzma, bz2, xml.etree.ElementTree
        import urllib.request, http.client, smtplib, email.message, logging.handlers, unittest.mock, msgpack, werkzeug
        from worker.loader import provide_sdk
        import worker.invoke, worker.process, worker.request, worker.response, worker.session
        provide_sdk()
        import dify_plugin
        callback = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 5)
        assert callback() == 5
        uuid.uuid1()
    """,
}
"""What endpoints may do, each in a fresh interpreter, which imports behind the filter as well."""


@pytest.mark.parametrize("name", PROGRAMS)
def test_ordinary_python_works(name: str, tmp_path: Path) -> None:
    """Programs that ask for nothing special get through, and nothing complains."""
    lines = [line[4:] for line in PROGRAMS[name].rstrip().splitlines()]
    (tmp_path / "script.py").write_text(PRELUDE + "\n".join(lines) + "\n")
    command = [sys.executable, "-I", "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

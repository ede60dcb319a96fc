"""Limits and figures of control groups, by processes that run into them; on whichever version the host has."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from executor.isolation import cgroup_group
from executor.isolation.cgroup_files import list_processes, write_text
from executor.isolation.cgroup_group import SLOT_MEMORY_BYTES
from executor.isolation.control_groups import ControlGroup, ControlGroups
from tests.executor.isolation.cgroup_support import NOBODY, await_removal, cannot_run, must_open, start

MIB = 1024 * 1024
COUNTED_FOR_ONE = {1, 2}
"""What `oom_kills` is when one process was killed: version 2 may count it once more, as one of its group."""
ALLOCATE = """
import mmap
memory = mmap.mmap(-1, 256 << 20)  # never more than that
for place in range(0, 256 << 20, 4096): memory[place] = 1
print("all of it")
"""
SPIN = """
import time
began, spent = time.monotonic(), time.process_time()
while time.process_time() - spent < 0.3: pass
print(time.monotonic() - began)
"""
WAIT = """
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def groups() -> Iterator[ControlGroups]:
    """Groups of this process."""
    groups = must_open()
    yield groups
    groups.close()
    assert not [folder for folder in groups.folders if Path(folder).exists()]


@pytest.fixture
def group(groups: ControlGroups, request: pytest.FixtureRequest) -> Iterator[ControlGroup]:
    """The group of one slot, with wide limits."""
    group = groups.create_group(f"slot-{abs(hash(request.node.name))}")
    group.apply(memory_bytes=256 * MIB, processes=32, cpu_share=1.0)
    yield group
    group.kill()
    await_removal(group)
    assert not [folder for folder in group.folders if Path(folder).exists()]


def ready(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process is in its group and has begun."""
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


def output(process: subprocess.Popen[bytes]) -> str:
    """Wait for the end of a process and of all who have its output."""
    return process.communicate()[0].decode()


def test_memory_is_bounded(group: ControlGroup) -> None:
    """A process that takes more is killed, and that is counted."""
    group.apply(memory_bytes=32 * MIB, processes=32, cpu_share=1.0)
    with start(group, ALLOCATE) as process:
        assert output(process) == ""
        assert process.returncode == -signal.SIGKILL
    usage = group.usage()
    assert usage.oom_kills in COUNTED_FOR_ONE
    if usage.memory_peak_bytes is not None:
        assert 32 * MIB < usage.memory_peak_bytes <= 32 * MIB + SLOT_MEMORY_BYTES
    assert usage.memory_bytes < 16 * MIB


def test_memory_is_bounded_for_all_processes_together(group: ControlGroup) -> None:
    """Each of them takes less than the limit."""
    group.apply(memory_bytes=32 * MIB, processes=32, cpu_share=1.0)
    several = "\nfor _ in range(8):\n    if os.fork() == 0: break\n"
    each = ALLOCATE.replace("256 << 20", "12 << 20").replace('print("all of it")', "sys.stdin.read()")
    with start(group, several + each) as process:
        output(process)
    assert group.usage().oom_kills >= 1


def test_files_in_memory_count(group: ControlGroup) -> None:
    """They belong to no process, but to the group."""
    group.apply(memory_bytes=32 * MIB, processes=32, cpu_share=1.0)
    with start(group, "file = os.memfd_create('x')\nfor _ in range(256): os.write(file, bytes(1 << 20))") as process:
        output(process)
        assert process.returncode == -signal.SIGKILL
    assert group.usage().oom_kills in COUNTED_FOR_ONE


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_all_of_a_group_can_be_killed_when_memory_runs_out(
    group: ControlGroup, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """By the kernel, or by who is told: the process that took little ends as well as the one that took all."""
    group.apply(memory_bytes=32 * MIB, processes=32, cpu_share=1.0)
    loop = new_loop()
    told = asyncio.Event()

    def kill() -> None:
        group.kill()
        told.set()

    try:
        group.on_out_of_memory(loop, lambda: pytest.fail("it was replaced"))
        group.on_out_of_memory(loop, kill)
        with start(group, WAIT) as bystander:
            ready(bystander)
            with start(group, ALLOCATE) as process:
                loop.run_until_complete(asyncio.wait_for(told.wait(), 30))
                assert process.wait() == -signal.SIGKILL
            assert bystander.wait() == -signal.SIGKILL
        await_removal(group)
    finally:
        loop.close()


def test_removing_a_group_is_not_taken_for_want_of_memory(groups: ControlGroups) -> None:
    """Though version 1 wakes its listener then."""
    loop = asyncio.new_event_loop()
    try:
        for number in range(3):
            group = groups.create_group(f"removed-{number}")
            group.on_out_of_memory(loop, lambda: pytest.fail("called"))
            group.remove()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()


def test_processes_are_bounded(group: ControlGroup) -> None:
    """The one that is too many is refused, and that is counted; slot and template have places of their own."""
    group.apply(memory_bytes=64 * MIB, processes=4, cpu_share=1.0)
    code = """
import errno
for number in range(20):
    try: pid = os.fork()
    except OSError as error:
        print(number, errno.errorcode[error.errno], flush=True)
        break
    if pid == 0: os.read(0, 1); os._exit(0)
"""
    with start(group, code) as process:
        assert output(process) == "5 EAGAIN\n", "it has the place of the slot, and one of its children the template's"
    assert group.usage().fork_refusals == 1


def test_threads_are_bounded(group: ControlGroup) -> None:
    """Like processes."""
    group.apply(memory_bytes=64 * MIB, processes=4, cpu_share=1.0)
    code = """
import threading
end = threading.Event()
threads = [threading.Thread(target=end.wait, daemon=True) for _ in range(20)]
try:
    for number, thread in enumerate(threads): thread.start()
except RuntimeError: print(number, flush=True)
end.set()
"""
    with start(group, code) as process:
        assert output(process) == "5\n"


def test_cpu_time_is_counted(group: ControlGroup) -> None:
    """That of processes which have ended, too."""
    with start(group, SPIN) as process:
        output(process)
    cpu_s = group.usage().cpu_s
    assert cpu_s is not None
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert 0.3 <= cpu_s <= used.ru_utime + used.ru_stime + 0.1


def test_cpu_time_is_shared_out(groups: ControlGroups, group: ControlGroup) -> None:
    """Who has a tenth of a CPU takes ten times as long, unless that is lifted."""
    if "cpu" not in groups.controllers:
        cannot_run("the CPU controller is not available")
    group.apply(memory_bytes=64 * MIB, processes=4, cpu_share=0.1)
    with start(group, SPIN) as process:
        assert float(output(process)) > 1.5
    group.apply(memory_bytes=64 * MIB, processes=4, cpu_share=0.001)
    with start(group, SPIN) as process:
        group.unthrottle()
        assert float(output(process)) < 200  # not 300: even a host that is busy with something else is faster


def write_patiently(file: Path, value: str) -> None:
    """Write a quota; refused as long as the kernel still knows a group below that was removed and has more."""
    deadline = time.monotonic() + 60
    while True:
        try:
            file.write_text(value)
        except OSError:
            if time.monotonic() > deadline:
                raise
        else:
            return


def test_a_share_above_that_of_the_group_above_is_no_error(groups: ControlGroups, group: ControlGroup) -> None:
    """A container may have less than one CPU."""
    names = {"v1": ("cpu.cfs_quota_us", "50000", "-1"), "v2": ("cpu.max", "50000 100000", "max 100000")}
    name, half, unlimited = names[groups.version]
    (file,) = (Path(folder, name) for folder in groups.folders if Path(folder, name).exists())
    group.apply(memory_bytes=64 * MIB, processes=4, cpu_share=0.2)
    group.unthrottle()
    write_patiently(file, half)
    try:
        for share in (0.2, 1.0, 0.3, 2.0):
            group.apply(memory_bytes=64 * MIB, processes=4, cpu_share=share)
        group.unthrottle()
    finally:
        file.write_text(unlimited)


def test_usage_begins_anew(group: ControlGroup) -> None:
    """One worker's figures have nothing of the one before."""
    group.apply(memory_bytes=32 * MIB, processes=2, cpu_share=1.0)
    with start(group, SPIN + ALLOCATE) as process:
        output(process)
    assert group.usage().oom_kills in COUNTED_FOR_ONE
    group.reset()
    usage = group.usage()
    assert usage.cpu_s is not None
    assert usage.cpu_s < 0.1
    assert (usage.oom_kills, usage.fork_refusals) == (0, 0)
    assert usage.memory_peak_bytes is None or usage.memory_peak_bytes < 16 * MIB
    with start(group, "memory = bytearray(20 << 20)\n" + WAIT) as process:
        ready(process)
        assert group.usage().memory_bytes > 20 * MIB
        output(process)
    peak = group.usage().memory_peak_bytes
    assert peak is None or 20 * MIB < peak < 32 * MIB


def test_limits_go_up_and_down(group: ControlGroup) -> None:
    """In whichever order the kernel wants that."""
    for memory_mib in (64, 32, 128, 33, 32, 1024):
        group.apply(memory_bytes=memory_mib * MIB, processes=4, cpu_share=1.0)
    with start(group, ALLOCATE) as process:
        assert output(process) == "all of it\n"


def test_only_changes_are_written(group: ControlGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """For most workers have the limits of the one before."""
    written = []

    def write(path: str, value: str) -> None:
        written.append(Path(path).name)
        write_text(path, value)

    monkeypatch.setattr(cgroup_group, "write_text", write)
    group.apply(memory_bytes=256 * MIB, processes=32, cpu_share=1.0)
    assert written == []
    group.apply(memory_bytes=256 * MIB, processes=33, cpu_share=1.0)
    assert written == ["pids.max"]
    group.unthrottle()
    group.unthrottle()
    group.apply(memory_bytes=256 * MIB, processes=33, cpu_share=1.0)
    assert len(written) in {1, 3}  # without and with the CPU controller


def test_a_value_that_was_refused_is_written_again(group: ControlGroup) -> None:
    """What the kernel has is never mistaken."""
    with pytest.raises(OSError, match=r"pids\.max"):
        group.apply(memory_bytes=64 * MIB, processes=2**62, cpu_share=1.0)
    group.apply(memory_bytes=64 * MIB, processes=4, cpu_share=1.0)
    with start(group, "print(os.fork() > 0)") as process:
        assert "True" in output(process)


def test_everything_in_a_group_is_killed(group: ControlGroup) -> None:
    """Daemons that ignore signals, too; and what they would start next."""
    code = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0: os.setsid()
print("ready", flush=True)
while True:
    try:
        if os.fork() == 0: os.setsid()
    except OSError: pass
"""
    group.apply(memory_bytes=128 * MIB, processes=20, cpu_share=0.5)
    with start(group, code) as process:
        ready(process)
        group.kill()
        output(process)  # ends when nobody has the pipe any more
        assert process.returncode == -signal.SIGKILL
    await_removal(group)


def test_killing_an_empty_or_removed_group_is_nothing(groups: ControlGroups) -> None:
    """Whoever cleans up need not know."""
    group = groups.create_group("empty")
    group.kill()
    group.remove()
    group.kill()
    group.remove()


def test_a_group_in_use_is_not_removed(group: ControlGroup) -> None:
    """The caller is told, and can try again."""
    with start(group, WAIT) as process:
        ready(process)
        with pytest.raises(OSError, match="busy") as caught:
            group.remove()
        assert caught.value.errno == errno.EBUSY
        assert [process.pid] * len(group.folders) == [pid for folder in group.folders for pid in list_processes(folder)]
        output(process)


def test_a_process_without_rights_joins_by_the_open_files(group: ControlGroup) -> None:
    """For the rights of who opened them count."""
    if os.geteuid() != 0:
        cannot_run("only root can start a process of another user")
    with start(group, WAIT, user=NOBODY) as process:
        ready(process)
        assert all(process.pid in list_processes(folder) for folder in group.folders)


def test_open_files_are_the_callers(group: ControlGroup) -> None:
    """One for each hierarchy, and programs do not inherit them."""
    descriptors = group.open_procs()
    assert len(descriptors) == len(group.folders)
    assert not any(map(os.get_inheritable, descriptors))
    for descriptor in descriptors:
        os.close(descriptor)


def count_descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_removed_group_is_told(groups: ControlGroups) -> None:
    """By the error of the operating system, without leaving anything open."""
    group = groups.create_group("gone")
    group.reset()
    group.remove()
    before = count_descriptors()
    for call in (group.open_procs, group.usage, group.reset, group.unthrottle):
        if call == group.unthrottle and "cpu" not in groups.controllers:
            continue
        with pytest.raises(FileNotFoundError):
            call()
    loop = asyncio.new_event_loop()
    with pytest.raises(FileNotFoundError):
        group.on_out_of_memory(loop, lambda: None)
    loop.close()
    assert count_descriptors() == before


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b"])
def test_names_are_file_names(groups: ControlGroups, name: str) -> None:
    """No other folder can be meant."""
    with pytest.raises(ValueError, match="not a name"):
        groups.create_group(name)


def test_a_name_is_used_once(groups: ControlGroups) -> None:
    """What was made is undone, what was there stays."""
    group = groups.create_group("twice")
    with pytest.raises(FileExistsError):
        groups.create_group("twice")
    Path(group.folders[-1]).rmdir()
    if len(group.folders) > 1:
        with pytest.raises(FileExistsError):
            groups.create_group("twice")
        assert not Path(group.folders[-1]).exists()
    group.remove()

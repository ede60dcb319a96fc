"""Slots: one worker after another, each process 2 of an empty table, and nothing left of it when its end is told."""

from __future__ import annotations

import errno
import os
import re
import resource
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from protocol import (
    Chunk,
    Exited,
    Forked,
    ForkFailed,
    ForkSlot,
    ForkWorker,
    Kill,
    Ready,
    Response,
    Shutdown,
    SlotReady,
    ZygoteReady,
)
from tests.worker.driver import (
    AS_ROOT,
    FIRST_ID,
    LIMITS,
    BaseZygote,
    Plugin,
    SlotDriver,
    WorkerDriver,
    ZygoteDriver,
    make_invoke,
    make_prepare_worker,
    wait_readable,
)
from tests.worker.forked import BLOCK, in_plugin_zygote
from worker import slot as slot_module
from worker.birth import begin_slot
from worker.environment import load_runtime
from worker.lockdown.evidence import LAYERS, Origin
from worker.lockdown.seccomp import load_program
from worker.slot import NewSlot

DAEMON: Final = """
def daemonize():
    down, up = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(up, b"%d" % os.getpid())
            threading.Event().wait()
        os._exit(0)
    os.wait()
    return os.read(down, 10)
"""
"""A process that has left its parent, its session and its process group, and holds the pipes for output."""


def is_closed(descriptor: int) -> bool:
    """Whether nobody has the other end of a pipe any more, all that was written having been read."""
    return bool(select.select([descriptor], [], [], 0)[0]) and os.read(descriptor, 1) == b""


def children(pid: int) -> list[str]:
    """The children of a process."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def serve(slot: SlotDriver, plugin: Plugin) -> bytes:
    """Have a slot serve one invocation; the body."""
    worker = WorkerDriver(slot)
    ready = worker.wait_ready()
    assert isinstance(ready, Ready), ready
    worker.send(make_invoke())
    body = worker.collect().body
    assert worker.exited().status == 0
    worker.close()
    return body


def start_with_daemon(plugin: Plugin) -> tuple[WorkerDriver, bytes]:
    """Start a worker that leaves a daemon, and waits for a body; and the daemon's number."""
    plugin.endpoint("return Response(part() for part in (daemonize, lambda: r.stream.read()))", top=DAEMON)
    worker = plugin.start(body=True)
    assert isinstance(worker.receive(), Response)
    chunk = worker.receive()
    assert isinstance(chunk, Chunk)
    return worker, chunk.data


def test_ready(slot: SlotDriver, zygote: ZygoteDriver) -> None:
    """A slot says what its layers are and whether it can be used again; the kernel says which process it is."""
    assert set(slot.ready) == {"layers", "reusable"}
    assert list(slot.ready["layers"]) == list(LAYERS)
    assert slot.ready["reusable"] is True
    assert f"NSpid:\t{slot.pid}\t" in Path(f"/proc/{slot.pid}/status").read_text()
    assert slot.pid != zygote.pid


def test_one_worker_after_another(slot: SlotDriver, plugin: Plugin) -> None:
    """Every worker is process 2 of the same table, and its first child is process 3; it has no parent in there."""
    plugin.endpoint("return Response(str([os.getpid(), os.getppid(), os.fork() or os._exit(0)]))")

    assert [serve(slot, plugin) for _ in range(4)] == [b"[2, 0, 3]"] * 4
    assert children(slot.pid) == []


def test_pid_is_that_of_our_table(slot: SlotDriver, workers: list[WorkerDriver]) -> None:
    """With FORKED comes the process id that the worker has here, though the slot knows another one."""
    workers.append(worker := WorkerDriver(slot))

    assert children(slot.template_pid) == [str(slot.pid), str(worker.pid)]
    assert worker.pid > 2
    worker.kill()
    worker.exited()


def test_busy(slot: SlotDriver, workers: list[WorkerDriver]) -> None:
    """A second worker is refused while there is one, whose identifier may be the same; the first goes on."""
    workers.append(worker := WorkerDriver(slot))
    for worker_id in (worker.id, 77):
        slot.command(ForkWorker(worker_id), [0, 1, 2, 0])
        assert slot.report(ForkFailed, worker_id) == ForkFailed(worker_id, errno.EINVAL, "the slot has a worker")

    worker.close_requests()
    assert worker.exited().status == 0


def test_nobody_has_said_what_for(slot: SlotDriver, plugin: Plugin) -> None:
    """A worker is refused until the slot knows what it is for; then the slot goes on."""
    slot.command(ForkWorker(7), [0, 0, 0, 0])

    assert slot.report(ForkFailed, 7).message == f"[Errno {errno.EINVAL}] nobody has said what workers are for"
    plugin.endpoint("return Response('x')")
    assert serve(slot, plugin) == b"x"


def test_what_for_is_not_changed_under_a_worker(slot: SlotDriver, workers: list[WorkerDriver]) -> None:
    """Its private files would be replaced; the one that is there goes on, and the next has what it had."""
    workers.append(worker := WorkerDriver(slot))
    slot.command(make_prepare_worker(limits={**LIMITS, "scratch_size": 4096}))
    slot.command(ForkWorker(77), [0, 0, 0, 0])
    assert slot.report(ForkFailed, 77).message == "the slot has a worker"

    worker.close_requests()
    assert worker.exited().status == 0


@pytest.mark.parametrize("count", [0, 3, 5])
def test_wrong_number_of_descriptors(slot: SlotDriver, count: int) -> None:
    """A command without the four pipes of a worker is answered with FORK_FAILED."""
    slot.command(ForkWorker(7), [0] * count)

    assert slot.report(ForkFailed, 7).message == f"{count} descriptors came with the command, 4 needed"


def test_commands_for_others(own_base: BaseZygote) -> None:
    """Commands that are for zygotes, reports, and KILL for nobody, change nothing."""
    zygote = own_base.fork_zygote()
    zygote.wait_ready()
    slot = zygote.fork_slot()
    for message in (
        ForkSlot(slot_id=1, name="", number=1, off=()),
        SlotReady(report={}),
        ZygoteReady(report={}),
        Forked(id=1),
    ):
        slot.command(message)
        wait_readable(own_base.stderr_fd)
        text = os.read(own_base.stderr_fd, 4096).decode()
        assert text == f"slot plugin: {type(message).__name__} is not for a slot\n"
    slot.command(Kill(worker_id=5))

    with_worker = WorkerDriver(slot)
    with_worker.close_requests()
    assert with_worker.exited().status == 0
    with_worker.close()
    slot.close()
    zygote.close()


def test_daemon_ends_with_its_worker(plugin: Plugin) -> None:
    """A daemon that has left session and parent is gone when the end of its worker, by itself, is told."""
    worker, daemon = start_with_daemon(plugin)
    assert daemon == b"4"
    assert len(children(worker.slot.pid)) == 1, "process 1 has adopted it"

    worker.body(b"go on")
    assert worker.collect().body == b"go on"
    report = worker.exited()

    assert is_closed(worker.stdout_fd)
    assert is_closed(worker.stderr_fd)
    assert (report.status, report.killed_descendants) == (0, 1)
    assert children(worker.slot.pid) == []


def test_kill(plugin: Plugin) -> None:
    """KILL ends a worker and its daemons before it is told; the report shows the signal."""
    worker, _ = start_with_daemon(plugin)

    worker.kill()
    report = worker.exited()

    assert is_closed(worker.stdout_fd)
    assert os.waitstatus_to_exitcode(report.status) == -signal.SIGKILL


def test_kill_reaches_who_ignores_signals(plugin: Plugin) -> None:
    """Processes that ignore or block every signal, or have stopped themselves, end with their worker all the same."""
    plugin.endpoint(
        """
        import signal
        for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                os.kill(os.getpid(), signal.SIGSTOP)
        print("ready", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        """
    )
    worker = plugin.start()
    assert os.read(worker.stdout_fd, 100) == b"ready\n"

    worker.kill()

    assert os.waitstatus_to_exitcode(worker.exited().status) == -signal.SIGKILL
    assert is_closed(worker.stdout_fd)


def test_whole_tree_ends_with_its_worker(plugin: Plugin) -> None:
    """Processes below a daemon are found as well, and counted."""
    plugin.endpoint(
        """
        down, up = os.pipe()
        for depth in range(5):
            if os.fork():
                if depth == 0:
                    os.close(up)
                    while os.read(down, 1) != b"4":
                        pass
                    return Response("x")
                os.setsid()
                os.write(up, b"%d" % depth)
                threading.Event().wait()
        threading.Event().wait()
        """
    )
    answer = plugin.call()

    assert answer.exited is not None
    assert answer.exited.killed_descendants == 5


def test_figures_of_daemons_count(plugin: Plugin) -> None:
    """Processor time of everything that a worker has started counts as its own, waited for or not."""
    plugin.endpoint(
        """
        down, up = os.pipe()
        for _ in range(2):
            if os.fork() == 0:
                os.setsid()
                while time.process_time() < 0.2:
                    pass
                os.write(up, b".")
                threading.Event().wait()
            os.read(down, 1)
        return Response("x")
        """
    )
    answer = plugin.call()

    assert answer.exited is not None
    assert answer.exited.utime_s + answer.exited.stime_s >= 0.4


def test_worker_cannot_signal_its_slot(slot: SlotDriver, plugin: Plugin) -> None:
    """No signal of a worker reaches process 1, whoever that is for the kernel, and the slot serves on."""
    plugin.endpoint(
        """
        import signal
        for number in signal.valid_signals():
            try:
                os.kill(1, number)
            except PermissionError:
                pass
        return Response("tried")
        """
    )

    assert [serve(slot, plugin) for _ in range(2)] == [b"tried"] * 2


def test_nothing_of_the_slot_is_shown(plugin: Plugin) -> None:
    """A worker sees nothing in /proc but itself: not process 1, and nothing that is no process."""
    plugin.endpoint(
        """
        child = os.fork()
        if child == 0:
            threading.Event().wait()
        names = set(os.listdir("/proc"))
        try:
            os.listdir("/proc/1")
        except FileNotFoundError:
            names.add("hidden")
        return Response(" ".join(sorted(names)))
        """
    )

    assert plugin.call().body == b"2 hidden self thread-self"


def test_slots_share_no_host_ids(zygote: ZygoteDriver, plugin: Plugin) -> None:
    """As root, workers that run at the same time have host ids of their own; otherwise that of the service's user."""
    plugin.endpoint("return Response(part() for part in (lambda: str(os.getuid()), lambda: r.stream.read()))")
    owners = set()
    for _ in range(3):
        worker = plugin.start(body=True)
        assert isinstance(worker.receive(), Response)
        assert worker.receive() == Chunk(data=b"1000")
        for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines():
            if line.startswith(("Uid:", "Gid:")):
                owners |= set(line.split()[1:])

    if AS_ROOT:
        assert len(owners) == 3
        assert {int(owner) % 2 for owner in owners} == {FIRST_ID % 2}
        assert all(int(owner) > FIRST_ID for owner in owners)
    else:
        assert owners == {str(os.getuid()), str(os.getgid())}


@pytest.mark.parametrize("off", ["seccomp", "no_new_privileges"])
def test_slot_that_must_not_be_used_again_ends(zygote: ZygoteDriver, workers: list[WorkerDriver], off: str) -> None:
    """Without the filter of system calls a worker could have changed what the slot shares, so it serves one only."""
    slot = zygote.fork_slot(off=[off])
    assert slot.ready["reusable"] is False
    workers.append(worker := WorkerDriver(slot))
    worker.close_requests()

    assert worker.exited().status == 0
    slot.wait_end()
    assert zygote.report(Exited, slot.id).status == 0
    slot.close()


def with_changed_slot(name: str, value: object, look: Callable[[SlotDriver], list[object]]) -> list[object]:
    """What there is to be seen of a slot in whose module something is replaced; its layers were looked at before."""
    program, origin = load_program(), Origin.look()

    def run() -> list[object]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        driver = SlotDriver(ours)
        command = ForkSlot(slot_id=1, name="test", number=0, off=())
        new = NewSlot(
            command,
            [theirs.fileno()],
            root="",
            origin=origin,
            program=program,
            forget=lambda: None,
            serve=load_runtime().serve,
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(slot_module, name, value)
            slot = begin_slot(new, BLOCK, 0).wait()
        theirs.close()
        driver.wait_ready()
        seen = look(driver)
        driver.close()
        while os.wait()[0] != slot:
            pass
        return seen

    return in_plugin_zygote(run)


def test_slot_that_cannot_set_numbering_back() -> None:
    """Where the kernel does not set the numbering of processes back, the slot serves one worker, whose number is 3."""

    def open_for_reading() -> int:
        return os.open("/proc/sys/kernel/ns_last_pid", os.O_RDONLY | os.O_CLOEXEC)

    def look(slot: SlotDriver) -> list[object]:
        worker = WorkerDriver(slot)
        inside = re.findall(r"^NSpid:.*\t(\d+)$", Path(f"/proc/{worker.pid}/status").read_text(), re.MULTILINE)
        worker.close_requests()
        code = os.waitstatus_to_exitcode(worker.exited().status)
        slot.wait_end()
        return [slot.ready["reusable"], slot.ready["layers"]["pid_namespace"]["holds"], inside, code]

    assert with_changed_slot("open_numbering", open_for_reading, look) == [False, True, ["3"], 0]


def test_nobody_is_looked_for_after_a_worker_that_was_alone() -> None:
    """To do so costs more the more processes the host has."""

    def look(slot: SlotDriver) -> list[object]:
        return [look_at_one(slot) for _ in range(3)]

    assert with_changed_slot("_kill_everything", None, look) == [[True, 0]] * 3
    assert with_changed_slot("open_numbering", lambda: None, look_at_one) == [False, 0]


def look_at_one(slot: SlotDriver) -> list[object]:
    """Whether a slot is reusable, and how its worker ends."""
    worker = WorkerDriver(slot)
    worker.close_requests()
    code = os.waitstatus_to_exitcode(worker.exited().status)
    worker.close()
    return [slot.ready["reusable"], code]


@pytest.mark.parametrize(
    "work", ["threading.Thread(target=len, args=((),)).start()", "os._exit(0) if os.fork() == 0 else os.wait()"]
)
def test_whoever_had_company_is_looked_after(slot: SlotDriver, plugin: Plugin, work: str) -> None:
    """Also when that has ended already: what it has left may still be there."""
    plugin.endpoint(f"{work}; daemonize(); return Response('x')", top=DAEMON)
    worker = WorkerDriver(slot)
    assert isinstance(worker.wait_ready(), Ready)
    worker.send(make_invoke())
    assert worker.collect().body == b"x"
    assert worker.exited().killed_descendants == 1
    assert children(slot.pid) == []
    worker.close()


def test_fork_failure_is_reported(slot: SlotDriver, plugin: Plugin) -> None:
    """Where the system allows no more processes, FORK_FAILED carries the errno, and the slot goes on."""
    plugin.endpoint("return Response('x')")
    template = slot.template_pid
    slot.command(make_prepare_worker())
    _, hard = resource.prlimit(template, resource.RLIMIT_NPROC)
    resource.prlimit(template, resource.RLIMIT_NPROC, (0, hard))
    for worker_id in (7, 8):
        slot.command(ForkWorker(worker_id), [0, 0, 0, 0])
        failed = slot.report(ForkFailed, worker_id)
        assert (failed.errno, failed.message) == (errno.EAGAIN, f"fork: {os.strerror(errno.EAGAIN)}")

    resource.prlimit(template, resource.RLIMIT_NPROC, (hard, hard))
    assert serve(slot, plugin) == b"x"


def test_private_files_that_cannot_be_had(slot: SlotDriver, plugin: Plugin) -> None:
    """Limits that the kernel cannot keep are answered with FORK_FAILED, and the slot goes on."""
    plugin.endpoint("return Response('x')")
    slot.command(make_prepare_worker(limits={**LIMITS, "scratch_files": 1 << 62}))
    slot.command(ForkWorker(7), [0, 0, 0, 0])

    failed = slot.report(ForkFailed, 7)
    assert failed.errno == errno.EINVAL
    assert "mount /private/tmp" in failed.message
    assert serve(slot, plugin) == b"x"


@pytest.mark.parametrize("how", ["told", "closed"])
def test_end(zygote: ZygoteDriver, plugin: Plugin, how: str) -> None:
    """A slot that is told to end, or has lost its supervisor, ends everything in its table."""
    slot = zygote.fork_slot()
    plugin.endpoint("daemonize(); print('ready', flush=True); threading.Event().wait()", top=DAEMON)
    worker = WorkerDriver(slot)
    assert isinstance(worker.wait_ready(), Ready)
    worker.send(make_invoke())
    assert os.read(worker.stdout_fd, 100) == b"ready\n"

    slot.command(Shutdown()) if how == "told" else slot.close()

    assert os.waitstatus_to_exitcode(zygote.report(Exited, slot.id).status) == 0
    assert worker.output() == (b"", b"")
    worker.close()
    slot.close()


def test_zygote_kills_a_slot(zygote: ZygoteDriver, workers: list[WorkerDriver]) -> None:
    """KILL of a slot ends the worker in it, too."""
    slot = zygote.fork_slot()
    workers.append(worker := WorkerDriver(slot))
    assert worker.wait_ready() == Ready()

    zygote.command(Kill(worker_id=slot.id))

    assert os.waitstatus_to_exitcode(zygote.report(Exited, slot.id).status) == -signal.SIGKILL
    assert worker.receive() is None
    slot.close()


@pytest.mark.parametrize("layer", ["network_namespace", "uts_namespace", "control_groups", "cgroup_namespace"])
def test_layers_of_the_slot(zygote: ZygoteDriver, layer: str) -> None:
    """A slot tells what it lacks: switched off, or not to be had."""
    slot = zygote.fork_slot(off=[layer] if layer != "control_groups" else [])
    seen = slot.ready["layers"][layer]

    reason = "no control groups can be used on this host" if layer == "control_groups" else "switched off ("
    assert seen["holds"] is False
    assert seen["text"].startswith(reason)
    slot.close()
    zygote.report(Exited, slot.id)


def test_joins_control_groups(zygote: ZygoteDriver, tmp_path: Path) -> None:
    """What a slot gets as control groups is joined once for slot and template, and not kept open."""
    procs = tmp_path / "cgroup.procs"
    descriptor = os.open(procs, os.O_WRONLY | os.O_CREAT)
    slot = zygote.fork_slot(groups=[descriptor, descriptor])
    os.close(descriptor)

    assert procs.read_text() == "00"
    assert slot.ready["layers"]["control_groups"] == {"holds": True, "text": "2 hierarchies joined"}
    for pid in (slot.pid, slot.template_pid) if AS_ROOT else ():
        assert str(procs) not in [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    slot.close()
    zygote.report(Exited, slot.id)

"""The loop of zygotes and slots: commands in, reports out, children waited for, whatever comes."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from protocol import (
    ControlMessage,
    Exited,
    Forked,
    ForkFailed,
    ForkWorker,
    Kill,
    Shutdown,
    ZygoteReady,
    encode_control,
)
from tests.worker.driver import CREDENTIALS, TIMEOUT_S, ControlDriver, wait_readable
from tests.worker.forked import in_slot
from worker.birth import end_as
from worker.control import BACKLOG_HIGH, MAX_DESCRIPTORS, MAX_MESSAGE, ControlLoop, describe_end


class Loop(ControlLoop):
    """FORK_WORKER brings so many reports, KILL a failure with a long text or a child that ends, SHUTDOWN the end."""

    def handle(self, command: ControlMessage, descriptors: Sequence[int]) -> None:
        """Do what the test wants."""
        match command:
            case ForkWorker(worker_id=number):
                for n in range(number):
                    self.send(Forked(id=n))
            case Kill(worker_id=0):
                self.fail(len(descriptors), "é" * MAX_MESSAGE, errno.EAGAIN)
            case Kill(worker_id=code):
                if os.fork() == 0:
                    os._exit(code)
            case Shutdown():
                self.stop()

    def on_ended(self, pid: int, status: int, usage: resource.struct_rusage) -> None:
        """Tell about it."""
        self.send(describe_end(os.waitstatus_to_exitcode(status), status, [usage], killed=pid))


@dataclass
class Running:
    """A loop in a child."""

    driver: ControlDriver
    pid: int
    stderr_fd: int

    def complaint(self) -> str:
        """What it says next on descriptor 2; nothing at its end."""
        wait_readable(self.stderr_fd)
        return os.read(self.stderr_fd, 4096).decode()

    def alive(self) -> bool:
        """Whether it answers."""
        self.driver.command(ForkWorker(1))
        return self.driver.report(Forked).id == 0

    def end(self) -> int:
        """Wait for its end; its exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def run_loop(control: socket.socket) -> int:
    """Be the loop."""
    Loop(control, "test loop").run(ZygoteReady(report={"is": "ready"}))
    return 0


@pytest.fixture
def running() -> Iterator[Running]:
    """A loop that is ready."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    driver = ControlDriver(ours)
    stderr_r, stderr_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os.dup2(stderr_w, 2)
        os.close(stderr_w)
        end_as(lambda: run_loop(theirs))
    theirs.close()
    os.close(stderr_w)
    driver.wait_ready()
    yield Running(driver, pid, stderr_r)
    driver.close()
    os.close(stderr_r)


def test_ready(running: Running) -> None:
    """The first report is READY, and the kernel says whose it is."""
    assert (running.driver.pid, running.driver.ready) == (running.pid, {"is": "ready"})


def test_reports_that_nobody_reads_wait(running: Running) -> None:
    """A supervisor that does not read loses nothing, and commands are read when it has read."""
    many = 3 * BACKLOG_HIGH
    running.driver.command(ForkWorker(many))
    running.driver.command(Kill(worker_id=0))

    assert [running.driver.report(Forked).id for _ in range(many)] == list(range(many))
    assert running.driver.report(ForkFailed).errno == errno.EAGAIN


def test_text_of_a_failure_is_cut(running: Running) -> None:
    """FORK_FAILED is never too long to be sent."""
    running.driver.command(Kill(worker_id=0))

    assert 0 < len(running.driver.report(ForkFailed).message.encode()) <= MAX_MESSAGE


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\xc1 garbage", "malformed command"),
        (b"x" * 70_000, "too long"),
        (encode_control(Shutdown()) + b"\xc0", "malformed command"),
    ],
)
def test_malformed_commands(running: Running, data: bytes, complaint: str) -> None:
    """What is no command is reported on descriptor 2, its descriptors are closed, and the loop goes on."""
    down, up = os.pipe()
    socket.send_fds(running.driver.control, [data], [up])
    os.close(up)

    assert complaint in running.complaint()
    assert os.read(down, 1) == b"", "a descriptor was kept"
    os.close(down)
    assert running.alive()


def test_empty_command_is_not_the_end(running: Running) -> None:
    """An empty datagram is malformed, and not taken for the end of the socket."""
    running.driver.control.send(b"")

    assert "malformed" in running.complaint()
    assert running.alive()


def test_too_many_descriptors(running: Running) -> None:
    """A command with more descriptors than there can be is refused as a whole."""
    running.driver.command(Kill(worker_id=0), [0] * (MAX_DESCRIPTORS + 1))

    assert "too many descriptors" in running.complaint()
    assert running.alive()


def test_descriptors_are_closed_after_a_command(running: Running) -> None:
    """Descriptors that came with a command that was carried out are closed."""
    down, up = os.pipe()
    running.driver.command(Kill(worker_id=0), [up, up])
    os.close(up)

    assert running.driver.report(ForkFailed).id == 2
    wait_readable(down)
    assert os.read(down, 1) == b""
    os.close(down)


def test_children_are_waited_for(running: Running) -> None:
    """Every child that ends is reported once, with its status and figures, and none is left as a zombie."""
    for code in (3, 4, 5):
        running.driver.command(Kill(worker_id=code))
    reports = [running.driver.report(Exited) for _ in range(3)]

    assert sorted(report.id for report in reports) == [3, 4, 5]
    assert len({report.killed_descendants for report in reports}) == 3, "here these are the process ids"
    assert all(report.max_rss_bytes > 1 << 20 for report in reports)
    assert running.alive()
    assert running.driver.pending == []


def test_signals_to_everybody_are_ignored(running: Running) -> None:
    """Signals that terminals and service managers send to whole groups do not end it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
        os.kill(running.pid, number)

    assert running.alive()


@pytest.mark.parametrize("how", ["told", "closed", "closed with reports unread"])
def test_end(running: Running, how: str) -> None:
    """It ends when it is told to, or when nobody is at the other end any more, and says nothing about it."""
    if how == "told":
        running.driver.command(Shutdown())
    elif how == "closed":
        running.driver.close()
    else:
        running.driver.command(ForkWorker(3 * BACKLOG_HIGH))
        wait_readable(running.driver.control.fileno())
        running.driver.close()

    assert running.end() == 0
    assert running.complaint() == ""


def test_a_number_that_another_descriptor_gets_within_a_turn() -> None:
    """What was to be read was the former one's: the other, which has nothing to say yet, is not asked."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pipes = [os.pipe() for _ in range(3)]
    (first, _), (second, _), (third, _) = pipes
    with ours, theirs:
        loop = Loop(ours, "loop")
        asked: list[str] = []

        def pass_on() -> None:
            os.read(first, 1)
            loop.forget(second)
            os.dup2(third, second)
            loop.watch(second, lambda: asked.append("third"))

        loop.watch(first, pass_on)
        loop.watch(second, lambda: asked.append("second"))
        for _, end in pipes[:2]:
            os.write(end, b"x")
        loop.turn()
        assert asked == []
        os.write(pipes[2][1], b"x")
        loop.turn()
        assert asked == ["third"]
    for descriptor in (loop._wakeup_r, loop._wakeup_w, *(number for pipe in pipes for number in pipe)):
        os.close(descriptor)


def test_credentials_of_a_child() -> None:
    """A report of a slot about a child carries the child's process id; when that is gone, its own."""

    def pid_of(report: Callable[[Loop], None]) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        ours.settimeout(TIMEOUT_S)
        report(Loop(theirs, "loop"))
        _, [(_, _, data)], _, _ = ours.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS.size))
        return int(CREDENTIALS.unpack(data)[0])

    def report() -> list[int]:
        child = os.fork()
        if child == 0:
            signal.pause()
        about_child = pid_of(lambda loop: loop.send(Forked(id=1), about=child))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return [child, about_child, pid_of(lambda loop: loop.send(Forked(id=1), about=child)), os.getpid()]

    child, about_child, about_nobody, own = in_slot(report)
    assert about_child == child
    assert about_nobody == own == 1


def test_figures_are_of_the_whole_tree() -> None:
    """Times and faults of all processes are added up, the largest memory is that of one."""

    def usage(factor: int) -> Any:
        figures = {"ru_maxrss": 3 * factor, "ru_minflt": 4 * factor, "ru_majflt": 5 * factor}
        return types.SimpleNamespace(ru_utime=1.5 * factor, ru_stime=2.0 * factor, **figures)

    assert describe_end(7, 9, [usage(1), usage(2)], killed=1) == Exited(
        id=7,
        status=9,
        utime_s=4.5,
        stime_s=6.0,
        max_rss_bytes=6 * 1024,
        minor_faults=12,
        major_faults=15,
        killed_descendants=1,
    )

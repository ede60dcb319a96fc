"""Zygotes: what they do with commands, good and bad, and that nothing below them is left behind."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from protocol import (
    Chunk,
    Exited,
    ForkFailed,
    ForkWorker,
    Kill,
    Ready,
    Response,
    Shutdown,
    ZygoteReady,
    encode_control,
)
from tests.worker.driver import TIMEOUT_S, BaseZygote, Plugin, make_invoke, wait_readable

if TYPE_CHECKING:
    from collections.abc import Iterator

DAEMON: Final = """
def daemonize():
    down, up = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(up, b"%10d" % os.getpid())
            threading.Event().wait()
        os._exit(0)
    return os.read(down, 10).strip()
"""
"""A process that has left its parent, its session and its process group."""


@pytest.fixture
def own_base() -> Iterator[BaseZygote]:
    """A base zygote that the test may end, its descriptor 2 a pipe."""
    stderr_r, stderr_w = os.pipe()
    zygote = BaseZygote(stderr=stderr_w)
    os.close(stderr_w)
    zygote.stderr_fd = stderr_r
    zygote.report(ZygoteReady)
    yield zygote
    zygote.close()
    os.close(stderr_r)


def is_alive(pidfd: int) -> bool:
    """Whether the process of a pidfd still runs."""
    return not select.select([pidfd], [], [], 0)[0]


def wait_end(pidfd: int) -> None:
    """Wait for the end of the process of a pidfd, and close it."""
    wait_readable(pidfd)
    os.close(pidfd)


def start_waiting(plugin: Plugin, top: str = "", first: str = "b'x'") -> tuple[bytes, int]:
    """Start a worker that sends one chunk and then waits for a body; the chunk, and its pidfd."""
    plugin.endpoint(f"return Response(part() for part in (lambda: {first}, lambda: r.stream.read()))", top=top)
    worker = plugin.start(body=True)
    assert isinstance(worker.receive(), Response)
    chunk = worker.receive()
    assert isinstance(chunk, Chunk)
    return chunk.data, os.pidfd_open(worker.pid)


def test_reports_versions(own_base: BaseZygote) -> None:
    """A plugin's zygote says what it has loaded, and is a process of its own below the base zygote."""
    child = own_base.fork_zygote()
    report = child.report(ZygoteReady)

    assert child.pid == report.pid
    assert tuple(report.report[k] for k in ("name", "preload", "sdk")) == ("plugin", ["dify_plugin"], "stand-in")
    assert report.report["threads"] == 1
    child.close()
    assert own_base.report(Exited, child.id).status == 0


def test_preloads_from_given_folder(own_base: BaseZygote, tmp_path: Path) -> None:
    """Modules named are imported once, in the zygote, from the folders given."""
    (tmp_path / "trusted.py").write_text("import os\npid = os.getpid()\n")
    child = own_base.fork_zygote(["trusted"], [str(tmp_path)])
    child.report(ZygoteReady)
    plugin = Plugin(child, tmp_path)
    plugin.endpoint("import trusted; return Response(str(trusted.pid))")

    assert str(child.pid).encode() == plugin.call().body
    plugin.close()
    child.close()


def test_event_loop_of_sdk_is_not_inherited(own_base: BaseZygote, tmp_path: Path) -> None:
    """What the real SDK's gevent has opened while it was imported is destroyed before anything is forked."""
    (tmp_path / "gevent.py").write_text(
        textwrap.dedent("""
        destroyed = []
        class Hub:
            def destroy(self, *, destroy_loop):
                destroyed.append(destroy_loop)
        def get_hub():
            return Hub()
        """)
    )
    child = own_base.fork_zygote(["gevent"], [str(tmp_path)])
    child.report(ZygoteReady)
    plugin = Plugin(child, tmp_path)
    plugin.endpoint("import gevent; return Response(str(gevent.destroyed))")

    assert plugin.call().body == b"[True]"
    plugin.close()
    child.close()


def test_preload_fails(own_base: BaseZygote) -> None:
    """A zygote that cannot import what it should ends, and says why on descriptor 2."""
    child = own_base.fork_zygote(["no_such_module"])

    assert os.waitstatus_to_exitcode(own_base.report(Exited, child.id).status) == 70
    wait_readable(own_base.stderr_fd)
    assert b"no_such_module" in os.read(own_base.stderr_fd, 4096)
    child.close()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\xc1 garbage", b"malformed command"),
        (b"", b"malformed command"),
        (b"x" * 70_000, b"too long"),
        (encode_control(ZygoteReady(pid=1, report={})), b"is a report, not a command"),
        (encode_control(Exited(1, 0, 0.0, 0.0, 0, 0, 0, 0)), b"is a report, not a command"),
    ],
)
def test_survives_malformed_commands(own_base: BaseZygote, tmp_path: Path, data: bytes, complaint: bytes) -> None:
    """What is no command is reported on descriptor 2, its descriptors are closed, and the zygote goes on."""
    down, up = os.pipe()
    socket.send_fds(own_base.control, [data], [up]) if data else own_base.control.send(data)
    os.close(up)

    wait_readable(own_base.stderr_fd)
    assert complaint in os.read(own_base.stderr_fd, 4096)
    assert os.read(down, 1) == b"", "the zygote has kept a descriptor"
    os.close(down)
    plugin = Plugin(own_base, tmp_path)
    plugin.endpoint("return Response('alive')")
    assert plugin.call().body == b"alive"
    plugin.close()


def test_wrong_number_of_descriptors(own_base: BaseZygote) -> None:
    """A command without the descriptors that it needs is answered with FORK_FAILED."""
    own_base.command(ForkWorker(worker_id=7))
    failed = own_base.report(ForkFailed, 7)

    assert failed.message == "0 descriptors came with the command, 4 were expected"


def test_fork_failure_is_reported() -> None:
    """Where the system allows no more processes, FORK_FAILED carries the errno."""
    # A zygote waits for all children of its process, so it is given a process of its own.
    program = """
import errno, socket, worker.zygote
from protocol import ForkWorker, decode_control, encode_control

def refuse():
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

worker.zygote.fork = refuse
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
socket.send_fds(ours, [encode_control(ForkWorker(worker_id=7))], [0, 1, 2, 0])
worker.zygote.Zygote(theirs, "test", {}).turn()
print(decode_control(ours.recv(65536)))
"""
    printed = subprocess.check_output([sys.executable, "-c", program], text=True)

    assert f"{ForkFailed(7, errno.EAGAIN, '[Errno 11] Resource temporarily unavailable')}\n" == printed


def test_identifier_in_use(own_base: BaseZygote, tmp_path: Path) -> None:
    """A second child with the identifier of a living one is refused, and the first is left alone."""
    plugin = Plugin(own_base, tmp_path)
    worker = plugin.fork()
    own_base.command(ForkWorker(worker_id=worker.id), [0, 1, 2, 0])
    wait_readable(own_base.stderr_fd)

    assert b"is in use" in os.read(own_base.stderr_fd, 4096)
    assert isinstance(worker.prepare(plugin.root), Ready)
    plugin.close()


def test_kill(plugin: Plugin) -> None:
    """KILL ends a worker and what is in its process group; the report shows the signal."""
    chunk, pidfd = start_waiting(plugin, "import subprocess", "str(subprocess.Popen(['sleep', '1000']).pid).encode()")
    sleeper = os.pidfd_open(int(chunk))
    worker = plugin.workers[-1]

    worker.kill()

    assert os.waitstatus_to_exitcode(worker.exited().status) == -signal.SIGKILL
    wait_end(pidfd)
    wait_end(sleeper)


def test_kill_of_nobody_is_ignored(plugin: Plugin) -> None:
    """KILL for a worker that has ended, or never was, changes nothing."""
    plugin.zygote.command(Kill(worker_id=999_999))
    plugin.endpoint("return Response('x')")

    assert plugin.call().body == b"x"


def test_daemon_ends_with_its_worker(plugin: Plugin) -> None:
    """A daemon with a session of its own is gone when the end of its worker is reported."""
    plugin.endpoint("return Response(part() for part in (daemonize, lambda: r.stream.read()))", top=DAEMON)
    worker = plugin.start(body=True)
    worker.receive()
    chunk = worker.receive()
    assert isinstance(chunk, Chunk)
    pidfd = os.pidfd_open(int(chunk.data))

    worker.body(b"go on")
    report = worker.exited()

    assert not is_alive(pidfd)
    assert (report.status, report.killed_descendants) == (0, 1)
    os.close(pidfd)


def test_daemon_outlives_other_workers(plugin: Plugin) -> None:
    """The daemon of a running worker is left alone when another worker ends."""
    chunk, pidfd = start_waiting(plugin, DAEMON, "daemonize()")
    daemon = os.pidfd_open(int(chunk))
    plugin.endpoint("daemonize(); return Response('x')", top=DAEMON, source="endpoints/other.py")

    other = plugin.call("endpoints/other.py")

    assert other.exited is not None
    assert other.exited.killed_descendants == 1
    assert is_alive(daemon)
    plugin.workers[0].kill()
    assert plugin.workers[0].exited().killed_descendants == 1
    wait_end(daemon)
    wait_end(pidfd)


def test_whole_tree_ends_with_its_worker(plugin: Plugin) -> None:
    """Processes below a daemon are found as well: each comes up when the one above it is gone."""
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


def test_no_zombies(plugin: Plugin) -> None:
    """Every child of the zygote that has ended was waited for."""
    plugin.endpoint("daemonize(); return Response('x')", top=DAEMON)
    for _ in range(5):
        plugin.call()

    with open(f"/proc/{plugin.zygote.pid}/task/{plugin.zygote.pid}/children") as file:  # noqa: PTH123
        assert file.read() == ""


def test_zygote_keeps_no_descriptors(plugin: Plugin) -> None:
    """A zygote has as many descriptors after many forks as before."""
    plugin.endpoint("return Response('x')")
    plugin.call()
    folder = Path(f"/proc/{plugin.zygote.pid}/fd")
    before = sorted(folder.iterdir())
    for _ in range(5):
        plugin.call()

    assert before == sorted(folder.iterdir())


def test_end_of_control_socket_ends_everything(own_base: BaseZygote, tmp_path: Path) -> None:
    """When the supervisor is gone, workers and daemons of every zygote are killed, and the zygotes end."""
    child = own_base.fork_zygote()
    child.report(ZygoteReady)
    plugin = Plugin(child, tmp_path)
    chunk, pidfd = start_waiting(plugin, DAEMON, "daemonize()")
    daemon, zygote = os.pidfd_open(int(chunk)), os.pidfd_open(child.pid)

    child.close()

    for descriptor in (pidfd, daemon, zygote):
        wait_end(descriptor)
    assert own_base.report(Exited, child.id).status == 0
    for worker in plugin.workers:
        worker.close()


def test_end_of_base_zygote_ends_everything(tmp_path: Path) -> None:
    """When the base zygote is told to end, or is killed, no process below it is left."""
    for command in (True, False):
        base = BaseZygote()
        base.report(ZygoteReady)
        child = base.fork_zygote()
        child.report(ZygoteReady)
        (tmp_path / str(command)).mkdir()
        plugin = Plugin(child, tmp_path / str(command))
        _, pidfd = start_waiting(plugin)
        zygote = os.pidfd_open(child.pid)

        base.command(Shutdown()) if command else base.process.kill()

        wait_end(pidfd)
        wait_end(zygote)
        assert (0 if command else -signal.SIGKILL) == base.process.wait(TIMEOUT_S)
        for worker in plugin.workers:
            worker.close()
        child.close()
        base.close()


def test_zygote_ignores_signals_to_its_group(own_base: BaseZygote, tmp_path: Path) -> None:
    """Signals that service managers send to everybody do not end a zygote; its workers take them as usual."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(own_base.pid, number)
    plugin = Plugin(own_base, tmp_path)
    plugin.endpoint("os.kill(os.getpid(), 15)")

    answer = plugin.call()

    assert answer.exited is not None
    assert os.waitstatus_to_exitcode(answer.exited.status) == -signal.SIGTERM
    plugin.close()


def test_workers_side_by_side(plugin: Plugin) -> None:
    """Many workers of one zygote run at the same time, and end in any order."""
    plugin.endpoint("return Response(part() for part in (lambda: b'x', lambda: r.stream.read()))")
    workers = [plugin.start(body=True) for _ in range(20)]
    for worker in workers:
        worker.receive()
        worker.receive()
    for n, worker in reversed(list(enumerate(workers))):
        worker.body(str(n).encode())
        assert str(n).encode() == worker.collect().body
        assert worker.exited().status == 0


def test_prepare_is_refused(plugin: Plugin, tmp_path: Path) -> None:
    """Without the plugin's folder the worker reports the step that failed, and its status says that we failed."""
    worker = plugin.fork()
    error = worker.prepare(tmp_path / "none")

    assert getattr(error, "code", None) == "internal"
    assert "step enter_plugin" in getattr(error, "message", "")
    assert os.waitstatus_to_exitcode(worker.exited().status) == 70


def test_scratch_must_exist(plugin: Plugin) -> None:
    """A scratch folder that is not there is noticed before anything of the plugin runs."""
    error = plugin.fork().prepare(plugin.root, scratch="/nonexistent")

    assert "step replace_environment: NotADirectoryError" in getattr(error, "message", "")


def test_supervisor_breaks_protocol(plugin: Plugin) -> None:
    """A worker that cannot understand its supervisor ends."""
    worker = plugin.fork()
    os.write(worker.write_fd, b"HTTP/1.1 200 OK\r\n")

    assert os.waitstatus_to_exitcode(worker.exited().status) == 70
    assert worker.collect().head is None
    assert b"preface" in worker.output()[1]


def test_worker_waits_for_prepare(plugin: Plugin) -> None:
    """A worker whose supervisor goes away before PREPARE ends quietly."""
    worker = plugin.fork()
    worker.close_requests()

    assert worker.exited().status == 0
    assert worker.output() == (b"", b"")


def test_invoke_twice(plugin: Plugin) -> None:
    """Only one invocation is served, whatever comes after it."""
    plugin.endpoint("return Response('x')")
    worker = plugin.start()
    assert worker.collect().body == b"x"
    assert make_invoke() is not None
    assert worker.exited().status == 0

"""Zygotes: what they do with commands, good and bad, and that nothing below them is left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
import textwrap
from pathlib import Path
from typing import Final

import pytest

from protocol import (
    Exited,
    Forked,
    ForkFailed,
    ForkSlot,
    ForkWorker,
    Kill,
    Ready,
    Shutdown,
    ZygoteReady,
)
from tests.worker.driver import (
    AS_ROOT,
    FIRST_ID,
    TIMEOUT_S,
    BaseZygote,
    ControlDriver,
    Plugin,
    SlotDriver,
    WorkerDriver,
    ZygoteDriver,
    make_fork_zygote,
    make_invoke,
    make_prepare_worker,
    wait_readable,
)

FORBID: Final = """
import ctypes, os, sys
kind, command = sys.argv[1], sys.argv[2:]
texts = {"setgroups": "deny", "uid_map": f"0 {os.getuid()} 1", "gid_map": f"0 {os.getgid()} 1"}
if ctypes.CDLL(None).unshare(0x10000000):
    sys.exit("no user namespaces here")
for name, text in texts.items():
    open(f"/proc/self/{name}", "w").write(text)
open(f"/proc/sys/user/max_{kind}_namespaces", "w").write("0")
os.execv(command[0], command)
"""
"""Execute a program in a user namespace that allows no more namespaces of a kind."""

WAIT: Final = """
def wait_as_daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            print("daemon", flush=True)
            threading.Event().wait()
        os._exit(0)
    os.wait()
    threading.Event().wait()
"""


def complaint(zygote: BaseZygote) -> bytes:
    """What it says next on descriptor 2."""
    wait_readable(zygote.stderr_fd)
    return os.read(zygote.stderr_fd, 4096)


def wait_failure(*drivers: ControlDriver) -> ForkFailed:
    """Wait for FORK_FAILED from whoever is the one to say it."""
    open_drivers = {driver.control.fileno(): driver for driver in drivers}
    while True:
        for descriptor in wait_readable(*open_drivers):
            try:
                message = open_drivers[descriptor].receive()
            except EOFError:
                del open_drivers[descriptor]
                continue
            if isinstance(message, ForkFailed):
                return message


def list_children(zygote: ZygoteDriver) -> list[int]:
    """The children of a zygote, zombies included."""
    return [int(pid) for pid in Path(f"/proc/{zygote.pid}/task/{zygote.pid}/children").read_text().split()]


def wait_children(zygote: ZygoteDriver) -> None:
    """Wait until templates and midwives have ended, and the zygote has had the time to wait for them."""
    for pid in list_children(zygote):
        with contextlib.suppress(ProcessLookupError):
            wait_end(os.pidfd_open(pid))
    zygote.command(ForkSlot(slot_id=0, name="", number=0, off=()))
    zygote.report(ForkFailed, 0)


def wait_end(pidfd: int) -> None:
    """Wait for the end of the process of a pidfd, and close it."""
    wait_readable(pidfd)
    os.close(pidfd)


def start_waiting(plugin: Plugin) -> WorkerDriver:
    """Start a worker that has a daemon; both wait for ever, and hold its output."""
    plugin.endpoint("wait_as_daemon()", top=WAIT)
    worker = plugin.start()
    assert os.read(worker.stdout_fd, 100) == b"daemon\n"
    return worker


def start_plugin(base: BaseZygote, folder: Path, **given: object) -> Plugin:
    """A plugin in a new folder of its own, with a zygote of its own."""
    root = folder / "plugin"
    root.mkdir()
    zygote = base.fork_zygote(plugin_root=root, **given)  # type: ignore[arg-type]  # handed over
    zygote.wait_ready()
    return Plugin(zygote, root)


def end(plugin: Plugin) -> None:
    """Close our ends of a plugin's workers, slots and zygote."""
    for worker in plugin.workers:
        worker.close()
    plugin.zygote.close()


def test_reports_versions(own_base: BaseZygote) -> None:
    """A plugin's zygote says what it has loaded, and is a process of its own below the base zygote."""
    child = own_base.fork_zygote()
    report = child.wait_ready()

    assert tuple(report[k] for k in ("name", "preload", "sdk")) == ("plugin", ["dify_plugin"], "stand-in")
    assert report["threads"] == 1
    assert {"python", "msgpack"} <= set(own_base.ready)
    assert child.pid not in {0, own_base.pid}
    child.close()
    assert own_base.report(Exited, child.id).status == 0


def test_process_1_of_its_own_table(own_base: BaseZygote) -> None:
    """A plugin's zygote is process 1 of its table, and root of a user namespace in which it has only its own ids."""
    child = own_base.fork_zygote()
    child.wait_ready()
    status = Path(f"/proc/{child.pid}/status").read_text()

    assert f"NSpid:\t{child.pid}\t1\n" in status
    own = FIRST_ID if AS_ROOT else os.getuid()
    assert f"Uid:\t{own}\t{own}\t{own}\t{own}\n" in status
    child.close()


def test_preloads_from_given_folder(own_base: BaseZygote, tmp_path: Path) -> None:
    """Modules named are imported once, in the zygote, from the folders given."""
    (tmp_path / "trusted").mkdir(mode=0o755)
    (tmp_path / "trusted/trusted.py").write_text("import os\npid = os.getpid()\n")
    plugin = start_plugin(own_base, tmp_path, preload=["trusted"], sys_path=[str(tmp_path / "trusted")])
    plugin.endpoint("import trusted; return Response(str(trusted.pid))")

    assert plugin.call().body == b"1"
    end(plugin)


def test_sockets_are_those_that_nobody_has_replaced(own_base: BaseZygote, tmp_path: Path) -> None:
    """The gevent of the real SDK replaces the class of sockets by one that waits in its event loop; ours never do."""
    (tmp_path / "trusted").mkdir(mode=0o755)
    (tmp_path / "trusted/patcher.py").write_text(
        """
import socket

class Trap(socket.socket):
    def recv(self, *_given):
        raise RuntimeError("not one of ours")
    recvmsg = send = sendmsg = recv

socket.socket = Trap
"""
    )
    plugin = start_plugin(own_base, tmp_path, preload=["patcher"], sys_path=[str(tmp_path / "trusted")])
    plugin.endpoint("import socket; return Response(socket.socket.__name__)")
    assert plugin.call().body == b"Trap"
    end(plugin)


def test_event_loop_of_sdk_is_not_inherited(own_base: BaseZygote, tmp_path: Path) -> None:
    """What the real SDK's gevent has opened while it was imported is destroyed before anything is forked."""
    (tmp_path / "trusted").mkdir(mode=0o755)
    (tmp_path / "trusted/gevent").mkdir(mode=0o755)
    (tmp_path / "trusted/gevent/__init__.py").write_text("from gevent._hub_local import destroyed")
    (tmp_path / "trusted/gevent/_hub_local.py").write_text(
        textwrap.dedent("""
        destroyed = []
        class Hub:
            def destroy(self, *, destroy_loop):
                destroyed.append(destroy_loop)
        def get_hub_if_exists():
            return None if destroyed else Hub()
        """)
    )
    plugin = start_plugin(own_base, tmp_path, preload=["gevent"], sys_path=[str(tmp_path / "trusted")])
    plugin.endpoint("import gevent; return Response(str(gevent.destroyed))")

    assert plugin.call().body == b"[True]"
    end(plugin)


def test_preload_fails(own_base: BaseZygote) -> None:
    """A zygote that cannot import what it should ends, and says why on descriptor 2."""
    child = own_base.fork_zygote(["no_such_module"])

    assert os.waitstatus_to_exitcode(own_base.report(Exited, child.id).status) == 70
    assert b"no_such_module" in complaint(own_base)
    child.close()


def test_malformed_commands(own_base: BaseZygote) -> None:
    """What is no command for a zygote is reported on descriptor 2, by the base zygote and others, and they go on."""
    child = own_base.fork_zygote()
    child.wait_ready()
    for zygote, name in ((own_base, b"base"), (child, b"plugin")):
        zygote.control.send(b"\xc1")
        assert complaint(own_base).startswith(b"zygote " + name + b": malformed command")
        for message in (ForkWorker(1), make_prepare_worker(), ZygoteReady(report={}), Forked(id=1)):
            zygote.command(message, [0])
            expected = f"zygote {name.decode()}: {type(message).__name__} is not for a zygote\n"
            assert complaint(own_base).decode() == expected
        zygote.command(Kill(worker_id=999_999))
    child.fork_slot().close()
    own_base.fork_zygote().close()
    child.close()


def test_wrong_number_of_descriptors(own_base: BaseZygote) -> None:
    """A command without the socket that the child needs is answered with FORK_FAILED."""
    own_base.command(ForkSlot(slot_id=7, name="", number=0, off=()))
    own_base.command(make_fork_zygote(8))

    assert own_base.report(ForkFailed, 7).message == "0 descriptors came with ForkSlot"
    assert own_base.report(ForkFailed, 8).message == "0 descriptors came with ForkZygote"


def test_slot_beyond_the_ids(own_base: BaseZygote) -> None:
    """A slot for which there are no host ids is refused; without such ids there is no bound."""
    child = own_base.fork_zygote()
    child.wait_ready()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child.command(ForkSlot(slot_id=5, name="", number=4095, off=()), [theirs.fileno()])
    if AS_ROOT:
        expected = "user_namespace: slot 4095 is beyond the 8192 ids of isolation.ids"
        assert child.report(ForkFailed, 5) == ForkFailed(5, 0, expected)
    else:
        assert child.report(Forked, 5) == Forked(id=5)
    ours.close()
    theirs.close()
    child.close()


def test_identifier_in_use(own_base: BaseZygote) -> None:
    """A second child with the identifier of a living one is refused, and the first is left alone."""
    child = own_base.fork_zygote()
    child.wait_ready()
    own_base.command(make_fork_zygote(child.id), [0])

    assert b"is in use" in complaint(own_base)
    child.fork_slot().close()
    child.close()


def test_kill_of_a_zygote(own_base: BaseZygote, tmp_path: Path) -> None:
    """KILL ends a zygote and everything below it; the report shows the signal."""
    plugin = start_plugin(own_base, tmp_path)
    worker = start_waiting(plugin)

    own_base.command(Kill(worker_id=plugin.zygote.id))

    assert os.waitstatus_to_exitcode(own_base.report(Exited, plugin.zygote.id).status) == -signal.SIGKILL
    assert worker.output() == (b"", b"")
    end(plugin)


def test_zygote_keeps_no_descriptors(own_base: BaseZygote) -> None:
    """Zygotes have as many descriptors and children after many forks, and many failures, as before."""

    def held(zygote: ZygoteDriver) -> list[str]:
        return [str(path.readlink()) for path in sorted(Path(f"/proc/{zygote.pid}/fd").iterdir())]

    child = own_base.fork_zygote()
    child.wait_ready()
    before = held(own_base)
    for _ in range(3):
        other = own_base.fork_zygote()
        other.wait_ready()
        other.close()
        own_base.report(Exited, other.id)
        slot = child.fork_slot()
        slot.close()
        child.report(Exited, slot.id)
        own_base.command(make_fork_zygote(1_000))
        own_base.report(ForkFailed)

    assert before == held(own_base)
    wait_children(child)
    assert list_children(child) == []
    child.close()


def test_end_of_control_socket_ends_everything(own_base: BaseZygote, tmp_path: Path) -> None:
    """When the supervisor is gone, workers and daemons of every zygote are killed, and the zygotes end."""
    plugin = start_plugin(own_base, tmp_path)
    worker = start_waiting(plugin)
    pidfds = [os.pidfd_open(pid) for pid in (plugin.zygote.pid, worker.slot.pid, worker.pid)]

    plugin.zygote.control.close()

    for descriptor in pidfds:
        wait_end(descriptor)
    assert worker.output() == (b"", b""), "the daemon holds the pipes no more"
    assert own_base.report(Exited, plugin.zygote.id).status == 0
    end(plugin)


@pytest.mark.parametrize("how", ["told", "killed", "lost"])
def test_end_of_base_zygote_ends_everything(tmp_path: Path, how: str) -> None:
    """When the base zygote is told to end, is killed, or has lost its supervisor, no process below it is left."""
    base = BaseZygote()
    base.wait_ready()
    plugin = start_plugin(base, tmp_path)
    worker = start_waiting(plugin)
    pidfds = [os.pidfd_open(pid) for pid in (plugin.zygote.pid, worker.slot.pid, worker.pid)]

    if how == "told":
        base.command(Shutdown())
    elif how == "killed":
        base.process.kill()
        plugin.zygote.control.close()  # the supervisor sees the end of the base zygote, and lets go of the others
    else:
        for driver in (worker.slot, plugin.zygote, base):
            driver.control.close()

    for descriptor in pidfds:
        wait_end(descriptor)
    assert worker.output() == (b"", b"")
    assert base.process.wait(TIMEOUT_S) == (-signal.SIGKILL if how == "killed" else 0)
    end(plugin)
    base.close()


def test_removes_control_groups(tmp_path: Path) -> None:
    """When its supervisor was killed, the base zygote removes the folders that it was given, as far as it can."""
    for name in ("memory/one", "memory/two", "pids", "cpu/kept/inner"):
        (tmp_path / name).mkdir(parents=True)
    groups = [str(tmp_path / name) for name in ("memory", "pids", "cpu", "missing")]
    base = BaseZygote(*groups, wrapper=["/bin/sh", "-c", '"$@" & wait', "supervisor"])
    base.wait_ready()
    pidfd = os.pidfd_open(base.pid)

    base.process.kill()
    base.control.close()

    wait_end(pidfd)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["cpu", "inner", "kept"]
    base.close()


def test_leaves_control_groups_to_the_supervisor(tmp_path: Path) -> None:
    """When the base zygote is told to end, the folders that it was given are the supervisor's business."""
    base = BaseZygote(str(tmp_path))
    base.wait_ready()

    base.close()

    assert tmp_path.is_dir()
    assert base.process.returncode == 0


def test_zygote_ignores_signals_to_its_group(own_base: BaseZygote, tmp_path: Path) -> None:
    """Signals that service managers send to everybody do not end zygotes, slots and templates; workers take them."""
    plugin = start_plugin(own_base, tmp_path)
    slot = plugin.zygote.take_slot()
    plugin.zygote.give_slot(slot)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        for pid in (own_base.pid, plugin.zygote.pid, slot.pid, slot.template_pid):
            os.kill(pid, number)
    plugin.endpoint("os.kill(os.getpid(), 15)")

    answer = plugin.call()

    assert answer.exited is not None
    assert os.waitstatus_to_exitcode(answer.exited.status) == -signal.SIGTERM
    assert plugin.zygote.slots == [slot]
    end(plugin)


def test_workers_side_by_side(plugin: Plugin) -> None:
    """Many workers of one zygote run at the same time, and end in any order."""
    plugin.endpoint("return Response(part() for part in (lambda: b'x', lambda: r.stream.read()))")
    workers = [plugin.start(body=True) for _ in range(12)]
    for worker in workers:
        worker.receive()
        worker.receive()
    for n, worker in reversed(list(enumerate(workers))):
        worker.body(str(n).encode())
        assert str(n).encode() == worker.collect().body
        assert worker.exited().status == 0


@pytest.mark.parametrize("block", [True, False])
@pytest.mark.parametrize("kind", ["user", "pid", "mnt"])
def test_namespaces_are_refused(kind: str, block: bool) -> None:  # noqa: FBT001
    """A host that does not let us have a namespace that nothing works without is told as such, by the layer's name."""
    base = BaseZygote(wrapper=[sys.executable, "-I", "-c", FORBID, kind])
    base.wait_ready()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        base.command(make_fork_zygote(5, block=block), [theirs.fileno()])

    failed = wait_failure(base, zygote := ControlDriver(ours))

    layer = {"user": "user_namespace", "pid": "pid_namespace", "mnt": "mount_namespace"}[kind]
    assert failed == ForkFailed(5, errno.ENOSPC, f"{layer}: unshare: {os.strerror(errno.ENOSPC)}")
    zygote.close()
    base.close()


@pytest.mark.parametrize(("kind", "layer"), [("net", "network"), ("uts", "uts"), ("ipc", "ipc"), ("cgroup", "cgroup")])
def test_slot_without_namespace_tells(kind: str, layer: str) -> None:
    """A namespace that slot or template cannot have is told as missing, with the kernel's reason; the others hold."""
    base = BaseZygote(wrapper=[sys.executable, "-I", "-c", FORBID, kind])
    base.wait_ready()
    zygote = base.fork_zygote(block=False)
    zygote.wait_ready()
    slot = zygote.fork_slot()
    layers = slot.ready["layers"]

    missing = [name for name, seen in layers.items() if not seen["holds"]]
    assert set(missing) == {f"{layer}_namespace", "control_groups"}
    assert "unshare: No space left on device" in layers[f"{layer}_namespace"]["text"]
    slot.close()
    zygote.close()
    base.close()


def test_plugin_folder_that_cannot_be_shown(own_base: BaseZygote, tmp_path: Path) -> None:
    """A zygote whose view cannot be built says why on its own socket, with its own identifier, and ends."""
    (tmp_path / "large").mkdir(mode=0o700)
    with (tmp_path / "large/file").open("wb") as file:
        file.truncate(300 << 20)
    zygote = own_base.fork_zygote(plugin_root=tmp_path / "large")

    if AS_ROOT:
        failed = zygote.report(ForkFailed, zygote.id)
        assert "too large to be copied" in failed.message
        assert f"chmod -R o+rX {tmp_path}/large" in failed.message
        assert own_base.report(Exited, zygote.id).status == 0
    else:
        zygote.wait_ready()
    zygote.close()


def test_plugin_folder_that_is_missing(own_base: BaseZygote, tmp_path: Path) -> None:
    """Without the plugin's folder a slot says so on its own socket, with its own identifier, and ends."""
    zygote = own_base.fork_zygote(plugin_root=tmp_path / "none", block=False)
    zygote.wait_ready()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        zygote.command(ForkSlot(slot_id=5, name="plugin", number=0, off=()), [theirs.fileno()])

    slot = SlotDriver(ours)
    failed = slot.report(ForkFailed, 5)

    assert failed.message == f"[Errno 2] No such file or directory: '{tmp_path}/none'"
    slot.wait_end()
    assert os.waitstatus_to_exitcode(zygote.report(Exited, 5).status) == 70
    slot.close()
    zygote.close()


def test_supervisor_breaks_protocol(plugin: Plugin) -> None:
    """A worker that cannot understand its supervisor ends."""
    worker = plugin.fork()
    assert worker.wait_ready() == Ready()
    os.write(worker.write_fd, b"HTTP/1.1 200 OK\r\n")

    assert os.waitstatus_to_exitcode(worker.exited().status) == 70
    assert worker.collect().head is None
    assert b"preface" in worker.output()[1]


def test_worker_that_nobody_asks(plugin: Plugin) -> None:
    """A worker whose supervisor goes away before INVOKE ends quietly."""
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

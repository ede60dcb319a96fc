"""Templates: locked down, out of reach of what they fork, and never without their slot."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from protocol import Exited, Kill, Ready, Shutdown
from tests.worker.driver import (
    LIMITS,
    BaseZygote,
    Plugin,
    SlotDriver,
    WorkerDriver,
    ZygoteDriver,
    make_invoke,
    wait_readable,
)
from tests.worker.forked import in_child, in_user_namespace
from worker.lockdown.calls import CLONE_NEWIPC
from worker.lockdown.evidence import LAYERS
from worker.template import _END, END, LOCKS, decode_end

KEY: Final = 0x5EED
IPC_CREATE: Final = 0o1600


def status_of(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def serve(slot: SlotDriver, sources: Sequence[str] = (), **task: Any) -> Any:
    """Have a slot serve one invocation; what the body says."""
    worker = WorkerDriver(slot, sources, **task)
    ready = worker.wait_ready()
    assert isinstance(ready, Ready), ready
    worker.send(make_invoke())
    answer = worker.collect()
    assert answer.error is None, answer.error
    assert os.waitstatus_to_exitcode(worker.exited().status) == 0
    worker.close()
    return json.loads(answer.body)


def start_waiting(slot: SlotDriver, plugin: Plugin) -> WorkerDriver:
    """Start a worker that waits for ever."""
    plugin.endpoint("print('waits', flush=True); threading.Event().wait()")
    worker = WorkerDriver(slot)
    assert worker.wait_ready() == Ready()
    worker.send(make_invoke())
    assert os.read(worker.stdout_fd, 100) == b"waits\n"
    return worker


def test_is_locked_down(slot: SlotDriver, workers: list[WorkerDriver]) -> None:
    """A template has the identity of its workers and none of the slot's rights, and can get no others."""
    workers.append(worker := WorkerDriver(slot))
    assert worker.wait_ready() == Ready()
    template, forked = status_of(slot.template_pid), status_of(worker.pid)

    assert (template["Name"], forked["Name"]) == ("ee-template", "ee-worker")
    for name in ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"):
        assert template[name] == forked[name], name
    assert {template[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16}
    assert (template["NoNewPrivs"], template["Seccomp"]) == ("1", "2")
    worker.close_requests()
    assert worker.exited().status == 0


def test_is_outside_of_the_table(slot: SlotDriver, zygote: ZygoteDriver) -> None:
    """A template is in the zygote's table, not in the slot's, and its number there is not that of its workers."""
    template, of_slot = status_of(slot.template_pid), status_of(slot.pid)

    assert len(of_slot["NSpid"].split()) == len(template["NSpid"].split()) + 1
    assert template["PPid"] == str(zygote.pid)
    assert int(template["NSpid"].split()[-1]) > 2


def test_locks_are_layers() -> None:
    """Each lock has the name of a layer that the scout looks at."""
    names = [name for name, _ in LOCKS]

    assert set(names) < set(LAYERS)
    assert len(set(names)) == len(names)


def test_workers_cannot_reach_it(slot: SlotDriver, plugin: Plugin) -> None:
    """No number and no group that a worker can name leads to its template, whatever it does with them."""
    template = slot.template_pid
    numbers = [template, *map(int, status_of(template)["NSpid"].split())]
    plugin.endpoint(
        f"""
        import errno, signal
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        found = []

        def attempt(name, function, *arguments):
            try:
                found.append([name, function(*arguments)])
            except OSError as error:
                found.append([name, errno.errorcode[error.errno]])

        attempt("parent", os.getppid)
        attempt("group", os.kill, 0, signal.SIGUSR1)
        attempt("parent signalled", os.kill, os.getppid(), signal.SIGUSR1)
        attempt("everybody", os.kill, -1, signal.SIGKILL)
        attempt("session", os.getsid, 0)
        attempt("group of the parent", os.killpg, os.getpgid(os.getppid()), signal.SIGUSR1)
        for number in {numbers}:
            attempt("number", os.kill, number, signal.SIGKILL)
            attempt("number of a group", os.kill, -number, signal.SIGKILL)
            attempt("descriptor", os.pidfd_open, number)
            attempt("session of", os.getsid, number)
            attempt("files", os.listdir, f"/proc/{{number}}")
        attempt("priority", os.setpriority, os.PRIO_USER, 0, 19)
        return Response(json.dumps(found))
        """
    )
    found = serve(slot)

    own = [["parent", 0], ["group", None], ["parent signalled", None], ["everybody", "ESRCH"], ["session", 2]]
    assert found[:5] == own
    assert found[5] == ["group of the parent", None], "its own, which 0 stands for"
    assert {entry[1] for entry in found[6:-1]} == {"ESRCH", "ENOENT"}
    assert found[-1] == ["priority", "EPERM"]
    assert slot.template_pid == template
    assert os.getpriority(os.PRIO_PROCESS, template) == os.getpriority(os.PRIO_PROCESS, 0)
    assert serve(slot)[:5] == own, "the slot serves on"


@pytest.mark.parametrize("name", ["SIGSTOP", "SIGTERM", "SIGKILL"])
def test_worker_that_ends_leaves_it_alone(slot: SlotDriver, plugin: Plugin, name: str) -> None:
    """A worker that has itself killed, or stopped and then killed, is waited for, and the next one is forked."""
    plugin.endpoint(f"import signal; print('now', flush=True); os.kill(os.getpid(), signal.{name})")
    worker = WorkerDriver(slot)
    assert worker.wait_ready() == Ready()
    worker.send(make_invoke())
    assert os.read(worker.stdout_fd, 100) == b"now\n"
    if name == "SIGSTOP":
        worker.kill()
    assert os.waitstatus_to_exitcode(worker.exited().status) in {-signal.SIGTERM, -signal.SIGKILL}
    worker.close()

    plugin.endpoint("return Response('1')")
    assert serve(slot) == 1


@pytest.mark.parametrize("busy", [False, True])
def test_slot_ends_with_its_template(zygote: ZygoteDriver, plugin: Plugin, busy: bool) -> None:  # noqa: FBT001
    """Without its template a slot is good for nothing: it ends, with its worker, and its end is told."""
    slot = zygote.fork_slot()
    worker = start_waiting(slot, plugin) if busy else None

    os.kill(slot.template_pid, signal.SIGKILL)

    slot.wait_end()
    assert os.waitstatus_to_exitcode(zygote.report(Exited, slot.id).status) == 0
    if worker is not None:
        assert worker.receive() is None
        worker.close()
    slot.close()


@pytest.mark.parametrize("how", ["told", "closed", "killed"])
@pytest.mark.parametrize("busy", [False, True])
def test_template_ends_with_its_slot(own_base: BaseZygote, tmp_path: Path, how: str, busy: bool) -> None:  # noqa: FBT001
    """However a slot ends, its template ends, too, before the end of the slot is told; it has nothing to say."""
    (tmp_path / "plugin").mkdir(mode=0o755)
    zygote = own_base.fork_zygote(plugin_root=tmp_path / "plugin")
    zygote.wait_ready()
    slot = zygote.fork_slot()
    worker = start_waiting(slot, Plugin(zygote, tmp_path / "plugin")) if busy else None
    pidfd = os.pidfd_open(slot.template_pid)

    if how == "told":
        slot.command(Shutdown())
    elif how == "closed":
        slot.close()
    else:
        zygote.command(Kill(worker_id=slot.id))

    code = os.waitstatus_to_exitcode(zygote.report(Exited, slot.id).status)
    assert wait_readable(pidfd, timeout_s=0) == [pidfd]
    assert code == (-signal.SIGKILL if how == "killed" else 0)
    os.close(pidfd)
    slot.close()
    if worker is not None:
        worker.close()
    zygote.close()
    own_base.close()
    assert os.read(own_base.stderr_fd, 4096) == b""


def test_next_worker_is_for_something_else(slot: SlotDriver, plugin: Plugin) -> None:
    """Sources, limits and the level of logging are those of the command, not of the one before."""
    plugin.write("counted.py", "value = 1\n")
    plugin.endpoint(
        """
        import resource
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return Response(json.dumps(["counted" in sys.modules, limit, logging.getLogger().level]))
        """
    )
    plugin.endpoint("return Response('')", top="import counted", source="endpoints/other.py")
    tasks: list[dict[str, Any]] = [
        {},
        {"sources": ["endpoints/other.py"], "debug": True},
        {"limits": {**LIMITS, "open_files": 99}},
        {},
        {},
        {"sources": ["endpoints/other.py"]},
    ]

    assert [serve(slot, **task) for task in tasks] == [
        [False, 256, 20],
        [True, 256, 10],
        [False, 99, 20],
        [False, 256, 20],
        [False, 256, 20],
        [True, 256, 20],
    ]


def test_source_that_cannot_be_imported_is_forgotten(slot: SlotDriver, plugin: Plugin) -> None:
    """The template has imported nothing: a source that was mended since is imported by the next worker."""
    source = plugin.endpoint("return Response('1')", top="import no_such_module")
    worker = WorkerDriver(slot, [source])
    assert not isinstance(worker.wait_ready(), Ready)
    worker.exited()
    worker.close()

    plugin.endpoint("return Response('2')")
    assert serve(slot, [source]) == 2


def test_module_that_is_new_is_found(slot: SlotDriver, plugin: Plugin) -> None:
    """A file that comes into the plugin's folder after the template has looked is found by the next worker."""
    plugin.endpoint("import importlib.util as u; return Response(str(int(u.find_spec('brand_new') is not None)))")
    assert serve(slot) == 0

    plugin.write("brand_new.py", "")
    assert serve(slot) == 1


@pytest.mark.parametrize("count", [1, 5])
def test_number_of_processes(slot: SlotDriver, plugin: Plugin, count: int) -> None:
    """A worker can have as many processes as it may, itself included: the template is not one of them."""
    plugin.endpoint(
        """
        down, up = os.pipe()
        try:
            for number in range(20):
                if os.fork() == 0:
                    os.close(up)
                    os.read(down, 1)
                    os._exit(0)
        except BlockingIOError:
            return Response(str(number + 1))
        """
    )
    assert serve(slot, limits={**LIMITS, "processes": count}) == count


def test_workers_are_not_alike(slot: SlotDriver, plugin: Plugin) -> None:
    """Random numbers of every kind differ between workers, and names of temporary files do."""
    plugin.endpoint(
        """
        import random, ssl, tempfile, uuid
        numbers = [random.random(), random.gauss(0, 1), random.getrandbits(64)]
        texts = [str(uuid.uuid4()), ssl.RAND_bytes(8).hex(), os.urandom(8).hex(), tempfile.mktemp()]
        return Response(json.dumps(numbers + texts))
        """
    )
    kinds = list(zip(*[serve(slot) for _ in range(4)], strict=True))

    assert [len(set(kind)) for kind in kinds] == [4] * 7


def test_random_numbers_of_trusted_modules_are_not_passed_on(own_base: BaseZygote, tmp_path: Path) -> None:
    """Numbers that were drawn while modules were imported say nothing of those that workers draw."""
    zygote, plugin = trusted(own_base, tmp_path, "import random; random.seed(1); drawn = random.gauss(0, 1)")
    plugin.endpoint("import random; return Response(json.dumps([random.gauss(0, 1), random.random()]))")
    slot = zygote.take_slot()

    numbers = [number for _ in range(3) for number in serve(slot)]
    assert len(set(numbers)) == 6
    zygote.close()


def test_hooks_of_trusted_modules_are_run(own_base: BaseZygote, tmp_path: Path) -> None:
    """Each worker has been forked with the hooks that a trusted module has registered, as by `os.fork`."""
    zygote, plugin = trusted(
        own_base,
        tmp_path,
        """
        import os, threading
        calls = {"before": 0, "parent": 0, "child": 0}
        lock = threading.Lock()
        def count(name):
            calls[name] += 1
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
        os.register_at_fork(
            before=lambda: count("before"),
            after_in_parent=lambda: count("parent"),
            after_in_child=lambda: count("child"),
        )
        def fail():
            raise RuntimeError("not this time")
        os.register_at_fork(after_in_child=fail)
        """,
    )
    plugin.endpoint(
        """
        import trusted
        thread = threading.main_thread()
        calls = trusted.calls
        open_calls = calls["before"] - calls["parent"]
        return Response(json.dumps([open_calls, trusted.lock.locked(), thread.native_id == os.getpid()]))
        """
    )
    slot = zygote.take_slot()

    forks = 2  # that of the template, and that of the worker
    assert [serve(slot) for _ in range(3)] == [[forks, False, True]] * 3
    wait_readable(own_base.stderr_fd)
    assert b"not this time" in os.read(own_base.stderr_fd, 65536)
    zygote.close()


@pytest.mark.parametrize("wish", [None, 5000])
def test_garbage_is_not_collected_while_trusted_modules_are_imported(
    own_base: BaseZygote, tmp_path: Path, wish: int | None
) -> None:
    """In workers it is, as usual, or as one of the modules has said."""
    say = f"gc.set_threshold({wish})" if wish else ""
    zygote, plugin = trusted(own_base, tmp_path, f"import gc\nseen = gc.get_threshold()[0]\n{say}")
    plugin.endpoint(
        "import gc, trusted; return Response(json.dumps([trusted.seen, gc.isenabled(), gc.get_threshold()[0]]))"
    )
    seen, enabled, threshold = serve(zygote.take_slot())
    assert (seen, enabled, threshold) == (0, True, wish or gc.get_threshold()[0])
    zygote.close()


@pytest.mark.parametrize("hooks", ["", "import os; os.register_at_fork(before=int)"], ids=["native", "python"])
def test_ways_to_fork_are_alike(own_base: BaseZygote, tmp_path: Path, hooks: str) -> None:
    """Where others want to be told of forks, a template does in Python what it else does in C: one worker or many."""
    zygote, plugin = trusted(own_base, tmp_path, hooks)
    slot = zygote.take_slot()
    for number in range(3):
        plugin.endpoint(f"[None for _ in range(3_000_000)]; return Response('{number}')")
        worker = WorkerDriver(slot)
        assert worker.wait_ready() == Ready()
        names = [status_of(pid)["Name"] for pid in (slot.template_pid, worker.pid)]
        worker.send(make_invoke())
        assert worker.collect().body == str(number).encode()
        end = worker.exited()
        assert names == ["ee-template", "ee-worker"]
        assert os.waitstatus_to_exitcode(end.status) == 0
        assert 0.01 < end.utime_s + end.stime_s < 60
        assert end.max_rss_bytes > 1 << 20
        assert end.minor_faults > 10
        assert len([*Path(f"/proc/{slot.template_pid}/fd").iterdir()]) == 4
        worker.close()
    killed = start_waiting(slot, plugin)
    killed.kill()
    assert os.waitstatus_to_exitcode(killed.exited().status) == -signal.SIGKILL
    killed.close()
    zygote.close()


def trusted(base: BaseZygote, folder: Path, text: str) -> tuple[ZygoteDriver, Plugin]:
    """A zygote that has imported a trusted module, and its plugin."""
    (folder / "modules").mkdir(mode=0o755)
    (folder / "plugin").mkdir(mode=0o755)
    Plugin(base, folder / "modules").write("trusted.py", text)
    given: dict[str, Any] = {"sys_path": [str(folder / "modules")], "plugin_root": folder / "plugin"}
    zygote = base.fork_zygote(["dify_plugin", "trusted"], **given)
    zygote.wait_ready()
    return zygote, Plugin(zygote, folder / "plugin")


def test_ipc_is_new() -> None:
    """Shared memory of System V that was there is not there, and what is made goes with the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    enter: Any = dict(LOCKS)["ipc_namespace"]

    def look() -> list[bool]:
        here = libc.shmget(KEY, 4096, IPC_CREATE) >= 0
        enter(None)
        before = libc.shmget(KEY, 4096, 0) >= 0
        libc.shmget(KEY, 4096, IPC_CREATE)
        inside = in_child(lambda: bool(libc.shmget(KEY, 4096, 0) >= 0))
        return [here, before, inside]

    assert in_user_namespace(CLONE_NEWIPC, look) == [True, False, True]


def test_ipc_of_workers(slot: SlotDriver, plugin: Plugin) -> None:
    """Queues and shared memory of a worker are not there for the next one in the same slot."""
    plugin.endpoint(
        """
        import ctypes
        libc = ctypes.CDLL(None)
        def find():
            return [libc.shmget(99, 4096, 0) >= 0, libc.msgget(99, 0) >= 0, libc.semget(99, 1, 0) >= 0]
        before = find()
        libc.shmget(99, 4096, 0o1600), libc.msgget(99, 0o1600), libc.semget(99, 1, 0o1600)
        return Response(json.dumps(before))
        """
    )

    assert [serve(slot) for _ in range(2)] == [[False, False, False]] * 2


def test_figures_are_told_unchanged() -> None:
    """What the template tells of an end is what the kernel told it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)

    assert decode_end(END + _END.pack(0x8B, *usage)) == (0x8B, usage)

"""What every worker has for itself: a scratch folder of a bounded size, and IPC."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.lockdown.private import enter_ipc

from protocol import Chunk, Response
from tests.worker.driver import LIMITS, Plugin
from tests.worker.forked import in_child, in_user_namespace

KEY = 0x5EED
IPC_CREATE = 0o1600


def seen(plugin: Plugin, expression: str, limits: Mapping[str, int] = LIMITS) -> Any:
    """What an expression is in an endpoint."""
    plugin.endpoint(f"return Response(json.dumps({expression}))", top=FILL)
    answer = plugin.call(limits=limits)
    assert answer.error is None, answer.error
    return json.loads(answer.body)


FILL = """
import errno

def fill(size):
    written = 0
    try:
        with open("/tmp/file", "wb", buffering=0) as file:
            while written < size:
                written += file.write(bytes(4096))
    except OSError as error:
        return [written, errno.errorcode[error.errno]]
    return [written, ""]

def make_files(count):
    for number in range(count):
        try:
            open(f"/tmp/file-{number}", "x").close()
        except OSError as error:
            return [number, errno.errorcode[error.errno]]
    return [count, ""]
"""


def test_scratch_folder(plugin: Plugin) -> None:
    """The scratch folder is in memory, belongs to the worker alone, and executes neither set-user-id nor devices."""
    expression = """[
        oct(os.stat('/tmp').st_mode), os.stat('/tmp').st_uid, os.stat('/tmp').st_gid,
        bool(os.statvfs('/tmp').f_flag & os.ST_NOSUID), bool(os.statvfs('/tmp').f_flag & os.ST_NODEV),
        os.access('/tmp', os.W_OK), os.path.realpath('/dev/shm'),
    ]"""

    assert seen(plugin, " ".join(expression.split())) == ["0o41777", 1000, 1000, True, True, True, "/tmp"]


def test_size(plugin: Plugin) -> None:
    """No more than the size can be written, in all files together."""
    limits = {**LIMITS, "scratch_size": 1 << 20}
    written, error = seen(plugin, "fill(2 << 20)", limits)

    assert (written, error) == (1 << 20, "ENOSPC")
    assert seen(plugin, "fill(1 << 20)", limits) == [1 << 20, ""]


def test_number_of_files(plugin: Plugin) -> None:
    """No more than the number of files can be made, whatever lies in the folder from the start."""
    limits = {**LIMITS, "scratch_files": 20}

    assert seen(plugin, "make_files(30)", limits) == [20, "ENOSPC"]
    assert seen(plugin, "make_files(20)", limits) == [20, ""]


def test_nothing_is_left_for_the_next(plugin: Plugin) -> None:
    """Files of a worker, in the scratch folder and in shared memory, are not there for others, later or at once."""
    expression = "[name for name in os.listdir('/tmp') + os.listdir('/dev/shm') if name.startswith('file-')]"
    body = (
        f"names = {expression}; make_files(3); return Response(part() for part in (lambda: str(names), r.stream.read))"
    )
    plugin.endpoint(body, top=FILL)
    workers = [plugin.start(body=True) for _ in range(2)]
    for worker in workers:
        assert isinstance(worker.receive(), Response)
        assert worker.receive() == Chunk(data=b"[]")
    for worker in workers:
        worker.kill()
        plugin.finish(worker)

    assert seen(plugin, expression) == []


def test_what_is_shown_in_the_scratch_folder_stays(plugin: Plugin) -> None:
    """A plugin whose folder is below that path on the host is found there, read-only; the rest is the worker's."""
    inside = str(plugin.root).startswith("/tmp/")
    expression = f"""[
        os.path.isfile({str(plugin.root)!r} + '/endpoints/main.py'), os.access({str(plugin.root)!r}, os.W_OK),
        len(os.listdir('/tmp')),
    ]"""

    assert seen(plugin, " ".join(expression.split())) == [True, False, int(inside)]


def test_ipc_is_new() -> None:
    """Shared memory of System V that was there is not there, and what is made goes with the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)

    def look() -> list[bool]:
        here = libc.shmget(KEY, 4096, IPC_CREATE) >= 0
        enter_ipc()
        before = libc.shmget(KEY, 4096, 0) >= 0
        libc.shmget(KEY, 4096, IPC_CREATE)
        inside = in_child(lambda: bool(libc.shmget(KEY, 4096, 0) >= 0))
        return [here, before, inside]

    assert in_user_namespace(0x0800_0000, look) == [True, False, True]


def test_ipc_of_workers(plugin: Plugin) -> None:
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

    assert [plugin.call().body for _ in range(2)] == [b"[false, false, false]"] * 2
    assert len(plugin.zygote.slots) == len({slot.pid for slot in plugin.zygote.slots})
    assert Path("/proc/self").exists()
    assert os.getpid() > 0

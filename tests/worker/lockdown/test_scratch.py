"""Private files: of a bounded size, and new for each worker, whatever the one before has done."""

from __future__ import annotations

import errno
import inspect
import itertools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from protocol import Chunk, Response
from tests.worker.driver import LIMITS, Plugin, WorkerDriver, ZygoteDriver, make_invoke
from tests.worker.forked import BLOCK, SlotOf, answer_from, in_plugin_zygote
from worker.birth import begin_slot
from worker.lockdown.calls import CLONE_NEWNS, unshare
from worker.lockdown.scratch import Scratch
from worker.view import SCRATCH, TEMPORARY, interpreter_trees

T = TypeVar("T")

FOLDER: Final = Path(SCRATCH)
SMALL: Final = {"scratch_size": 1 << 20, "scratch_files": 16}


def seen(plugin: Plugin, expression: str, limits: Mapping[str, int] = LIMITS) -> Any:
    """What an expression is in an endpoint."""
    plugin.endpoint(f"return Response(json.dumps({expression}))", top=FILL)
    answer = plugin.call(limits=limits)
    assert answer.error is None, answer.error
    return json.loads(answer.body)


def names_shown(*trees: Path) -> list[str]:
    """What the view shows in the folder: what leads to these trees and the interpreter, if the host has them there."""
    below = [tree for tree in (*map(Path, interpreter_trees()), *trees) if tree.is_relative_to(TEMPORARY)]
    return sorted({tree.relative_to(TEMPORARY).parts[0] for tree in below if tree.exists()})


def names_in(folder: Path | int) -> list[str]:
    """What is in a folder, by its path or its descriptor."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries)


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

    assert seen(plugin, " ".join(expression.split())) == ["0o41777", 1000, 1000, True, True, True, "/private/tmp"]


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
    expression = f"""[
        os.path.isfile({str(plugin.root)!r} + '/endpoints/main.py'), os.access({str(plugin.root)!r}, os.W_OK),
        sorted(os.listdir('/tmp')),
    ]"""

    assert seen(plugin, " ".join(expression.split())) == [True, False, names_shown(plugin.root)]


def fingerprint() -> list[object]:
    """All that could tell what was done in the private files; it is itself something that is done there."""
    status = os.stat("/tmp")  # noqa: PTH116 - this is for a worker, which has imported no pathlib
    space = os.statvfs("/tmp")
    descriptor = os.open("/tmp", os.O_TMPFILE | os.O_WRONLY)
    number = os.fstat(descriptor).st_ino
    os.close(descriptor)
    return [
        number,
        sorted(os.listdir("/tmp")),  # noqa: PTH208
        [oct(status.st_mode), status.st_uid, status.st_gid, status.st_nlink, status.st_size, status.st_ino],
        [space.f_blocks, space.f_bfree, space.f_files, space.f_ffree],
        os.listxattr("/tmp"),
    ]


ACTS: Final = {
    "nothing": "pass",
    "look": "os.listdir('/tmp')",
    "file": "open('/tmp/x', 'w').write('x')",
    "file that is gone": "open('/tmp/x', 'w').close(); os.unlink('/tmp/x')",
    "file without a name": "os.close(os.open('/tmp', os.O_TMPFILE | os.O_WRONLY))",
    "file that is open": "open('/tmp/x', 'w').write('x'); import builtins; builtins.kept = open('/tmp/x')",
    "folder": "os.makedirs('/tmp/a/b'); os.chmod('/tmp/a', 0)",
    "link": "os.symlink('/', '/tmp/x')",
    "socket": "import socket; socket.socket(socket.AF_UNIX).bind('/tmp/x')",
    "permissions": "os.chmod('/tmp', 0)",
    "permissions set back": "os.chmod('/tmp', 0o700); os.chmod('/tmp', 0o1777)",
    "everything": "[os.symlink('/', f'/tmp/{number}') for number in range(10_000)]",
}
"""What a worker may do with its private files."""

UNSEEN: Final = {"nothing", "look", "permissions set back"}
"""What shows in times only."""


@pytest.mark.parametrize("act", ACTS)
def test_the_next_worker_sees_nothing_of_it(zygote: ZygoteDriver, plugin: Plugin, act: str) -> None:
    """Whatever a worker does, the next one in the same slot sees what the first one of a slot sees."""
    look = "return Response(json.dumps(fingerprint()))"
    plugin.endpoint(f"import contextlib\nwith contextlib.suppress(OSError): {ACTS[act]}\n{look}", top=FINGERPRINT)
    plugin.endpoint(look, top=FINGERPRINT, source="endpoints/look.py")
    answers = serve_in_one_slot(zygote, "endpoints/look.py", "endpoints/main.py", "endpoints/look.py")

    assert answers[0] == answers[2]
    assert json.loads(answers[0])
    if act not in UNSEEN:
        assert answers[0] != answers[1], "what was done can be seen"


def serve_in_one_slot(zygote: ZygoteDriver, *sources: str) -> list[bytes]:
    """Have a new slot serve requests, one after the other; their bodies."""
    slot = zygote.fork_slot()
    bodies = []
    for source in sources:
        worker = WorkerDriver(slot)
        worker.wait_ready()
        worker.send(make_invoke(source))
        answer = worker.collect()
        bodies.append(answer.body if answer.error is None else answer.error.message.encode())
        worker.exited()
        worker.close()
    slot.close()
    return bodies


def test_times_are_of_this_worker(zygote: ZygoteDriver, plugin: Plugin) -> None:
    """The times of the folder do not tell when others were there: all of them are later than the one before."""
    plugin.endpoint(
        """
        os.utime("/tmp", (1, 2)), os.listdir("/tmp")
        return Response(json.dumps([early, time.clock_gettime_ns(5)]))  # CLOCK_REALTIME_COARSE
        """,
        top="status = os.stat('/tmp'); early = min(status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)",
    )
    spans = [json.loads(body) for body in serve_in_one_slot(zygote, *["endpoints/main.py"] * 3)]

    assert all(end <= early for (_, end), (early, _) in itertools.pairwise(spans))


FINGERPRINT: Final = inspect.getsource(fingerprint).replace(" -> list[object]", "")


def in_new_slot(function: Callable[[Scratch], T], *trees: Path) -> T:
    """Run a function where slots are born, with a view in which some trees are shown."""

    def look() -> T:
        unshare(CLONE_NEWNS)
        return function(Scratch())

    return in_plugin_zygote(lambda: answer_from(lambda be: begin_slot(SlotOf(be), BLOCK, 0).wait(), look), *trees)


def device() -> int:
    """Number of the file system that is there now."""
    return FOLDER.stat().st_dev


def test_provided_for_limits() -> None:
    """The same limits find the same empty files as long as nobody has had them; others find others."""

    def run(scratch: Scratch) -> list[object]:
        kept, seen = [], []
        for limits in (SMALL, SMALL, SMALL | {"scratch_files": 17}, SMALL | {"scratch_size": 2 << 20}, {}):
            scratch.provide(limits)
            kept.append(os.open(FOLDER, os.O_RDONLY))  # its number is not used again
            space = os.statvfs(FOLDER)
            seen.append((device(), space.f_blocks * space.f_frsize, space.f_ffree))
        devices = [entry[0] for entry in seen]
        assert devices[0] == devices[1]
        assert len(set(devices)) == 4
        return [entry[1:] for entry in seen[1:4]] + [seen[4][1] > 2 << 20]

    assert in_new_slot(lambda _: names_in(FOLDER)) == names_shown()
    assert in_new_slot(run) == [[1 << 20, 16], [1 << 20, 17], [2 << 20, 16], True]


def test_renewed() -> None:
    """After a worker the files are others, with the same limits, and those of before are not mounted any more."""

    def run(scratch: Scratch) -> list[object]:
        scratch.provide(SMALL)
        (FOLDER / "file").write_bytes(bytes(4096))
        kept = os.open(FOLDER, os.O_RDONLY)
        before = device()
        scratch.renew()
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {SCRATCH} " in line]
        free = os.statvfs(FOLDER).f_ffree
        return [device() == before, free, len(mounts), names_in(FOLDER), names_in(kept)]

    shown = names_shown()
    assert in_new_slot(run) == [False, 16, 1, shown, sorted(["file", *shown])]


def test_renewed_before_there_were_any() -> None:
    """Without a worker there is nothing to renew."""

    def run(scratch: Scratch) -> list[str]:
        scratch.renew()
        return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " scratch " in line]

    assert in_new_slot(run) == []


def test_what_the_view_shows_there(tmp_path: Path) -> None:
    """What is shown below the folder is shown in all private files, read-only, beside so many files of the worker's."""
    tree = Path("/tmp/shown-in-scratch") / tmp_path.name
    tree.mkdir(parents=True)
    (tree / "file").write_text("text")

    def run(scratch: Scratch) -> list[object]:
        seen: list[object] = []
        scratch.provide(SMALL)
        for _ in range(2):
            (FOLDER / "own").write_text("own")
            with pytest.raises(OSError, match="Read-only") as raised:
                (tree / "new").touch()
            seen += [(tree / "file").read_text(), raised.value.errno, os.statvfs(FOLDER).f_ffree]
            scratch.renew()
        return seen

    assert in_new_slot(run, tree) == ["text", errno.EROFS, 15] * 2
    (tree / "file").unlink()
    tree.rmdir()
    tree.parent.rmdir()


def test_files_that_cannot_be_had() -> None:
    """What the kernel refuses is an error, and the next attempt may succeed."""

    def run(scratch: Scratch) -> list[object]:
        with pytest.raises(OSError, match=f"mount {SCRATCH}") as raised:
            scratch.provide({"scratch_files": 1 << 62})
        scratch.provide(SMALL)
        return [raised.value.errno, os.statvfs(FOLDER).f_ffree]

    assert in_new_slot(run) == [errno.EINVAL, 16]

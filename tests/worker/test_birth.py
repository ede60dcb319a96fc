"""Births: process 1 of a table, the ids that it stands for, and what is said when the kernel refuses."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from socket import socket

import pytest

from tests.worker.driver import AS_ROOT, FIRST_ID, wait_readable
from tests.worker.forked import (
    BLOCK,
    NO_IDS,
    SlotOf,
    answer_from,
    in_child,
    in_slot,
    in_user_namespace,
    in_zygote,
    open_descriptors,
    show_processes,
    status_field,
)
from worker import birth
from worker.birth import EXIT_INTERNAL, begin_slot, end_as, fork_zygote
from worker.delivery import BirthError, blame
from worker.lockdown.calls import CLONE_NEWNS, CLONE_NEWPID, MS_BIND, mount, umount
from worker.user_namespace import IdBlock, lock_mounts

MS_RDONLY = 0x1
MS_REMOUNT = 0x20

LIMIT = "/proc/sys/user/max_{}_namespaces"


def forbid(kind: str) -> None:
    """Forbid namespaces of a kind in the user namespace that this process is in, and below."""
    Path(LIMIT.format(kind)).write_text("0")


def identity() -> list[object]:
    """Process id, parent, users and groups of this process."""
    return [os.getpid(), os.getppid(), *os.getresuid(), *os.getresgid(), os.getgroups()]


def refusal(function: Callable[[], object]) -> list[object]:
    """Text and number of the BirthError that a function raises; all descriptors and children are gone after it."""
    before = open_descriptors()
    with pytest.raises(BirthError) as raised:
        function()
    assert before == open_descriptors()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    return [str(raised.value), raised.value.errno]


@pytest.mark.parametrize(
    ("block", "zygote", "slot"),
    [
        (IdBlock(500, 10), "0 500 10", "0 7 1\n1000 8 1"),
        (IdBlock(0, 0), None, "1000 0 1"),
    ],
)
def test_maps(block: IdBlock, zygote: str | None, slot: str) -> None:
    """A slot has two ids of the block, its own and its worker's; without a block it has the one that there is."""
    assert zygote is None or zygote == block.zygote_map()
    assert slot == block.slot_map(3)


def test_slots_share_no_ids() -> None:
    """The ids of different slots, and of the zygote, are different; a slot beyond the block is refused."""
    block = IdBlock(500, 64)
    maps = [line.split() for number in range(31) for line in block.slot_map(number).splitlines()]
    outside = [int(entry[1]) for entry in maps]

    assert sorted(set(outside)) == outside == list(range(1, 63))
    with pytest.raises(BirthError, match=r"user_namespace: slot 32 is beyond the 64 ids of isolation\.ids"):
        block.slot_map(32)


def test_zygote_is_process_1() -> None:
    """A zygote is process 1 of its table, has no parent there, and is root of its own user namespace only."""
    assert in_zygote(identity) == [1, 0, 0, 0, 0, 0, 0, 0, [] if AS_ROOT else in_zygote(os.getgroups)]
    outside = in_zygote(lambda: Path("/proc/self/uid_map").read_text().split())
    assert outside == (["0", str(FIRST_ID), "8192"] if AS_ROOT else ["0", str(os.getuid()), "1"])


def test_slot_is_process_1() -> None:
    """A slot is process 1 of its table, too, and stands for its two ids only."""
    seen = in_slot(lambda: [os.getpid(), os.getppid(), os.getuid()], 5)
    outside = in_slot(lambda: Path("/proc/self/uid_map").read_text().split(), 5)

    assert seen == ([1, 0, 0] if AS_ROOT else [1, 0, 1000])
    assert outside == (["0", "11", "1", "1000", "12", "1"] if AS_ROOT else ["1000", "0", "1"])


def test_template_is_outside_of_the_table() -> None:
    """What a template forks is process 2 of the slot's table, and has no parent in it; the template is not in it."""

    def give_birth() -> list[object]:
        down, up = os.pipe()

        class Pair(SlotOf):
            def be_slot(self, _link: socket) -> int:
                os.close(up)
                signal.pause()
                return 0

            def be_template(self, _link: socket) -> int:
                if os.fork() == 0:
                    os.write(up, b"%d %d " % (os.getpid(), os.getppid()))
                    os._exit(0)
                os.wait()
                os.write(up, b"%d" % os.getpid())
                return 0

        slot = begin_slot(Pair(int), BLOCK, 0).wait()
        found = [int(text) for text in read_all(down, up)]
        template, _ = os.wait()
        os.kill(slot, signal.SIGKILL)
        adopted, _ = os.wait()
        return [found[:2], found[2] == template, template > 2, adopted == slot]

    assert in_zygote(give_birth) == [[2, 0], True, True, True]


def test_slot_and_template_are_connected() -> None:
    """The end of either of the two is the end of the other's socket."""

    def give_birth() -> list[object]:
        down, up = os.pipe()

        class Pair(SlotOf):
            def be_slot(self, link: socket) -> int:
                os.write(up, b"slot:" + link.recv(100) + link.recv(100) + b" ")
                return 0

            def be_template(self, link: socket) -> int:
                link.send(b"hello")
                return 0

        begin_slot(Pair(int), BLOCK, 0).wait()
        return [*read_all(down, up)]

    assert in_zygote(give_birth) == ["slot:hello"]


def read_all(down: int, up: int) -> list[str]:
    """Read a pipe, whose other end we let go of, to its end; the words."""
    os.close(up)
    with os.fdopen(down) as file:
        return file.read().split()


def test_slot_that_cannot_settle() -> None:
    """What a slot and its template share and cannot have is an error of the birth; nothing of them is left."""

    class Unsettled(SlotOf):
        def settle(self) -> None:
            with blame("layer"):
                raise OSError(errno.EBUSY, "busy")

    assert in_zygote(lambda: refusal(lambda: begin_slot(Unsettled(int), BLOCK, 0).wait())) == [
        "layer: busy",
        errno.EBUSY,
    ]


def test_everything_below_ends_with_process_1() -> None:
    """When process 1 of a table ends, processes below it are gone, those in tables within and in own sessions too."""
    down, up = os.pipe()

    def leave_daemons() -> str:
        def be_slot() -> int:
            for _ in range(3):
                if os.fork() == 0:
                    os.setsid()
                    signal.pause()
            os.write(up, b"slot")
            signal.pause()
            return 0

        begin_slot(SlotOf(be_slot), BLOCK, 0).wait()
        if os.fork() == 0:
            signal.pause()
        assert os.read(down, 4) == b"slot"
        return "zygote ends"

    assert in_zygote(leave_daemons) == "zygote ends"

    os.close(up)
    wait_readable(down)
    assert os.read(down, 1) == b"", "nobody has the other end any more"
    os.close(down)


def test_a_zygote_of_a_zygote() -> None:
    """It is process 1 of its own table, in the user namespace of its parent, and has the same ids."""

    def give_birth() -> list[object]:
        space = str(Path("/proc/self/ns/user").readlink())
        inner = answer_from(
            lambda be: fork_zygote(lambda mapper: be() if mapper is None else 1, None),
            lambda: [*identity()[:1], os.getresuid()[0], str(Path("/proc/self/ns/user").readlink())],
        )
        return [space == inner[-1], os.getresuid()[0] == inner[1], inner[0]]

    assert in_zygote(give_birth) == [True, True, 1]


def test_locked_mounts() -> None:
    """Whoever has entered, with all rights there, can neither make writable nor take away what was there before."""

    def enter() -> list[object]:
        mount("before", "/mnt", "tmpfs", flags=MS_RDONLY)
        lock_mounts()
        with pytest.raises(PermissionError):
            mount(None, "/mnt", None, flags=MS_BIND | MS_REMOUNT)
        with pytest.raises(OSError, match="umount /mnt: Invalid argument"):
            umount("/mnt")
        mount("after", "/mnt", "tmpfs")
        return [bool(os.statvfs("/mnt").f_flag & os.ST_RDONLY), os.getuid()]

    assert in_user_namespace(CLONE_NEWNS, enter) == [False, 0]


def test_midwives_leave_nothing() -> None:
    """After births nothing of the process in between is left but something to wait for."""

    def give_birth() -> list[object]:
        before = open_descriptors()
        pids = {fork_zygote(lambda _: 0, NO_IDS if not AS_ROOT else BLOCK) for _ in range(3)}
        left = len(pids), before == open_descriptors()
        codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(3)]
        return [*left, codes]

    assert in_child(give_birth) == [3, True, [0, 0, 0]]


@pytest.mark.parametrize("kind", ["user", "pid"])
def test_zygote_is_refused(kind: str) -> None:
    """Where the kernel allows no more namespaces the error names the layer and has the number."""

    def provoke() -> list[object]:
        forbid(kind)
        return refusal(lambda: fork_zygote(lambda _: 0, NO_IDS))

    text = f"{kind}_namespace: unshare: {os.strerror(errno.ENOSPC)}"
    assert in_user_namespace(0, provoke) == [text, errno.ENOSPC]


@pytest.mark.parametrize("kind", ["user", "pid"])
def test_slot_is_refused(kind: str) -> None:
    """A zygote that may make no namespaces gets an error for its slot, and goes on."""

    def provoke() -> list[object]:
        forbid(kind)
        return refusal(lambda: begin_slot(SlotOf(lambda: 0), BLOCK, 0).wait())

    layer, number = in_zygote(provoke)
    assert str(layer).startswith(f"{kind}_namespace: ")
    assert number in {errno.ENOSPC, 0}


BIRTHS: dict[str, Callable[[], int]] = {
    "zygote": lambda: fork_zygote(lambda _: 0, NO_IDS),
    "slot": lambda: begin_slot(SlotOf(lambda: 0), NO_IDS, 0).wait(),
}


@pytest.mark.parametrize(
    ("kind", "call", "allowed"),
    [
        ("zygote", "birth.fork", 0),
        ("zygote", "birth.os.pipe2", 0),
        ("slot", "birth.fork", 0),
        *(("slot", "birth.os.pipe2", allowed) for allowed in range(3)),
    ],
)
def test_what_is_refused_leaves_nothing_open(
    kind: str, call: str, allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process or descriptor is to be had, perhaps for a while: a zygote is asked for one after another."""
    before = open_descriptors()
    with monkeypatch.context() as patch:
        refuse_after(allowed, call, patch)
        with pytest.raises(OSError, match=os.strerror(errno.EAGAIN)):
            BIRTHS[kind]()
    assert before == open_descriptors()


@pytest.mark.parametrize("kind", BIRTHS)
def test_a_midwife_that_may_not_fork_says_so(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not only that there is no answer."""

    def provoke() -> list[object]:
        with monkeypatch.context() as patch:
            refuse_after(1, "birth.fork", patch)
            return refusal(BIRTHS[kind])

    assert in_child(provoke) == [f"pid_namespace: {os.strerror(errno.EAGAIN)}", errno.EAGAIN]


def refuse_after(allowed: int, name: str, patch: pytest.MonkeyPatch) -> None:
    """Have so many more calls of a function succeed; those of a process that was forked meanwhile are counted on."""
    module, _, attribute = name.rpartition(".")
    owner = os if module == "birth.os" else birth
    function, left = getattr(owner, attribute), allowed

    def limited(*arguments: object) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return function(*arguments)

    patch.setattr(owner, attribute, limited)


def test_ids_that_cannot_be_mapped() -> None:
    """Ids that this user may not map are an error of the user namespace."""

    def provoke() -> list[object]:
        return refusal(lambda: begin_slot(SlotOf(lambda: 0), IdBlock(7, 8), 0).wait())

    text, number = in_user_namespace(0, provoke)
    assert str(text).startswith("user_namespace: ")
    assert number == errno.EPERM


def test_blame() -> None:
    """An OSError gets the name of a layer; other errors are left alone."""
    with pytest.raises(BirthError, match="layer: No such file") as raised, blame("layer"):
        Path("/nonexistent").read_bytes()
    assert raised.value.errno == errno.ENOENT
    with pytest.raises(ValueError, match="other"), blame("layer"):
        raise ValueError("other")


@pytest.mark.parametrize(
    ("be", "status"),
    [(lambda: 3, 3), (lambda: 1 / 0, EXIT_INTERNAL), (lambda: os.kill(os.getpid(), 9), -9)],
)
def test_end_as(be: Callable[[], int], status: int, capfd: pytest.CaptureFixture[str]) -> None:
    """A forked process ends with what it returns; what it raises goes to descriptor 2, and no further."""
    pid = os.fork()
    if pid == 0:
        end_as(be)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
    assert ("ZeroDivisionError" in capfd.readouterr().err) == (status == EXIT_INTERNAL)


def test_slot_owns_its_processes() -> None:
    """A slot may mount the proc of its table, and has no rights over what is outside of its namespaces."""

    def look() -> list[object]:
        show_processes()
        pids = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
        with pytest.raises(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, -5)
        return [pids, status_field("NSpid")]

    assert in_slot(look) == [["1"], "1"]


def test_namespaces_are_new() -> None:
    """Table and user namespace of zygote and slot are others than ours, and than each other's."""

    def spaces() -> list[str]:
        return [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("user", "pid")]

    def be_zygote() -> list[str]:
        return spaces() + answer_from(lambda be: begin_slot(SlotOf(be), BLOCK, 0).wait(), spaces)

    found = spaces() + in_zygote(be_zygote)
    assert len(set(found)) == 6


def test_process_table_is_that_of_children() -> None:
    """The helper for these tests makes what it says: a child that is process 1, and root of its namespace."""
    assert in_user_namespace(CLONE_NEWPID, identity)[:3] == [1, 0, 0]

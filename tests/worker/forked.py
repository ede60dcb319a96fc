"""Functions run in forked children, so that what they do to their process and its namespaces goes with it."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Final, NoReturn, TypeVar

from tests.worker.driver import AS_ROOT, FIRST_ID, IDS
from worker.birth import begin_slot, fork_zygote
from worker.descriptors import close_other_descriptors
from worker.lockdown.calls import (
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    mount,
    unshare,
)
from worker.user_namespace import IdBlock, Mapper
from worker.view import build_view, interpreter_trees

__all__ = [
    "BLOCK",
    "NO_IDS",
    "SlotOf",
    "answer_from",
    "in_child",
    "in_plugin_zygote",
    "in_slot",
    "in_user_namespace",
    "in_zygote",
    "open_descriptors",
    "show_processes",
    "status_field",
]

T = TypeVar("T")

NO_IDS: Final = IdBlock(0, 0)
BLOCK: Final = IdBlock(FIRST_ID, IDS) if AS_ROOT else NO_IDS
"""The host ids that there are for the user that the tests run as."""


def in_child(function: Callable[[], T]) -> T:
    """Run a function in a forked child; what it returns, plain data, or its failure as AssertionError."""

    def fork(be: Callable[[], int]) -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(be())
        os.waitpid(pid, 0)

    return answer_from(fork, function)


def in_user_namespace(flags: int, function: Callable[[], T]) -> T:
    """Run a function in a child that is root of a new user namespace, which owns new ones of these kinds."""

    def enter() -> T:
        texts = {"setgroups": "deny", "uid_map": f"0 {os.getuid()} 1", "gid_map": f"0 {os.getgid()} 1"}
        unshare(CLONE_NEWUSER | flags)
        for name, text in texts.items():
            Path(f"/proc/self/{name}").write_text(text)
        return in_child(function)  # a new process table is that of children

    return in_child(enter)


def in_zygote(function: Callable[[], T], ids: IdBlock = BLOCK) -> T:
    """Run a function in a child that was born as zygotes are, as root of their user namespace."""

    def fork(be: Callable[[], int]) -> None:
        def be_zygote(mapper: Mapper | None) -> int:
            show_processes()
            if mapper is not None:
                mapper.enter(as_root=True)
            return be()

        fork_zygote(be_zygote, ids)

    return in_child(lambda: answer_from(fork, function))


@dataclass
class SlotOf:
    """A slot that runs a function, and a template that only waits for its end.

    Attributes:
        be: What the slot does; its result is the exit status.
    """

    be: Callable[[], int]

    def settle(self) -> None:
        """Share nothing."""

    def be_slot(self, _link: socket) -> int:
        """Run the function."""
        return self.be()

    def be_template(self, link: socket) -> int:
        """Wait for the end of the slot, and keep nothing open meanwhile."""
        close_other_descriptors({0, 1, 2, link.fileno()})
        link.recv(1)
        return 0


def in_plugin_zygote(function: Callable[[], T], *trees: Path) -> T:
    """Run a function in a child that was born as zygotes are, and sees a view, with these trees besides."""

    def fork(be: Callable[[], int]) -> None:
        def be_zygote(mapper: Mapper | None) -> int:
            unshare(CLONE_NEWNS)
            build_view([*interpreter_trees(), *map(str, trees)], "", copy_private=False)
            if mapper is not None:
                mapper.enter(as_root=True)
            return be()

        fork_zygote(be_zygote, BLOCK)

    return in_child(lambda: answer_from(fork, function))


def in_slot(function: Callable[[], T], number: int = 0) -> T:
    """Run a function in a child that was born as slots are, with those of their ids that have this number."""
    return in_zygote(lambda: answer_from(lambda be: begin_slot(SlotOf(be), BLOCK, number).wait(), function))


def show_processes() -> None:
    """Show the processes of this table in /proc, for this process and its children only."""
    unshare(CLONE_NEWNS)
    mount(None, "/", None, flags=MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC)


def answer_from(fork: Callable[[Callable[[], int]], object], function: Callable[[], T]) -> T:
    """Run a function in a process that `fork` makes of what it is given; what it returns, or its failure."""
    down, up = os.pipe2(os.O_CLOEXEC)

    def be() -> int:
        os.close(down)
        _answer(up, function)

    try:
        fork(be)
    finally:
        os.close(up)
        with os.fdopen(down, "rb") as file:
            text = file.read()
    answer: dict[str, T] = json.loads(text or '{"error": "the child has said nothing"}')
    assert "error" not in answer, answer["error"]
    return answer["value"]


def _answer(descriptor: int, function: Callable[[], object]) -> NoReturn:
    try:
        answer = {"value": function()}
    except BaseException:  # noqa: BLE001 - the parent raises it
        answer = {"error": traceback.format_exc()}
    os.write(descriptor, json.dumps(answer).encode())
    os._exit(0)


def open_descriptors() -> list[int]:
    """The descriptors of this process, but for that of the listing."""
    listing = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
    numbers = {int(name) for name in os.listdir(listing)}  # noqa: PTH208 - of an open folder
    os.close(listing)
    return sorted(number for number in numbers if Path(f"/proc/self/fd/{number}").is_symlink())


def status_field(name: str) -> str:
    """The value of a line of /proc/self/status."""
    with open("/proc/self/status", encoding="utf-8") as file:  # noqa: PTH123
        return next(line.partition(":")[2].strip() for line in file if line.startswith(f"{name}:"))

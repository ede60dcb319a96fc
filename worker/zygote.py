"""A zygote: a warm process that forks others on command and runs nothing of a plugin.

The *base zygote* is the one program that the supervisor starts. It has imported trusted code once, sees the host as the
supervisor does, and forks plugin zygotes. A *plugin zygote* is process 1 of a table of its own and sees the view of its
plugin (`worker.view`); it imports what the operator trusts and forks slots. See `worker.control` for the loop.

An *environment zygote* stands between the two where a plugin has an environment of its own: it is like a plugin zygote,
but sees no plugin, and in place of slots it forks the zygotes of all plugins with that environment. They have nothing
left to import; the base zygote lends them their plugin's folder (`worker.lending`). What makes forks cheap (a
rehearsal, objects that are not counted, memory in files) takes half as long as the import. It is done on command, after
the first zygote of a plugin was forked: somebody waits for that one.

When the control socket ends, a zygote ends what is below it. For a plugin zygote that is the kernel's work: nothing in
its process table outlives it.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from os import kill, waitpid
from signal import SIG_DFL, SIGCHLD, SIGKILL, set_wakeup_fd
from signal import signal as set_handler
from socket import socket
from typing import TYPE_CHECKING, Final

from msgpack import UnpackException

from protocol import (
    ControlMessage,
    Forked,
    ForkSlot,
    ForkZygote,
    Kill,
    LendFolder,
    PrepareForks,
    Shutdown,
    StoreBytecode,
    ZygoteReady,
)
from worker.birth import begin_slot, fork_zygote
from worker.bytecode import store_bytecode
from worker.control import ControlLoop, describe_end
from worker.delivery import BirthError, Deliveries, Delivery, blame
from worker.descriptors import close_other_descriptors
from worker.environment import (
    EnvironmentUnfitError,
)
from worker.heritage import Heritage, add_imports, enter_view, import_all, keep_memory, prepare_forks
from worker.kernel import adopt_orphans, set_process_name
from worker.lending import fork_lender, receive_folder
from worker.slot import NewSlot
from worker.tracebacks import describe_error
from worker.user_namespace import IdBlock, Mapper, lock_mounts
from worker.view import ViewError

if TYPE_CHECKING:
    from resource import struct_rusage

__all__ = ["Zygote"]


BIRTHS_AT_ONCE: Final = 2 * len(os.sched_getaffinity(0))
"""Slots that are born side by side: a birth waits for the kernel half of the time."""


class Zygote(ControlLoop):
    """The loop of one zygote.

    Args:
        control: Our end of the control socket. Owned.
        name: For people.
        heritage: What its children are born with.
        ids: Host ids for slots; `None` for the base zygote, to which they come with each command.

    Attributes:
        root: The plugin's folder; empty where there is none.
        bytecode_fd: The folder that its byte code is written to; -1 where there is none.
    """

    def __init__(self, control: socket, name: str, heritage: Heritage, ids: IdBlock | None) -> None:
        super().__init__(control, f"zygote {name}")
        self.root = ""
        self.bytecode_fd = -1
        self._heritage = heritage
        self._ids = ids
        self._pids: dict[int, int] = {}
        self._births = Deliveries(self.watch, self.forget, self._on_born, self._on_unborn)
        self._prepared = False

    def serve(self) -> None:
        """Take commands until the supervisor is gone or says so; then end every child."""
        adopt_orphans()
        try:
            self.run(ZygoteReady(report=self._heritage.report | {"threads": threading.active_count()}))
        finally:
            self._end_children()

    def takes_commands(self) -> bool:
        """Whether there is room for what another command leads to."""
        return len(self._births) < BIRTHS_AT_ONCE and super().takes_commands()

    def patience_ms(self) -> float | None:
        """How long a turn may wait: until a birth has taken too long."""
        return self._births.left_ms()

    def turn(self) -> None:
        """Wait for something to happen, and handle it."""
        super().turn()
        self._births.finish_overdue()

    def handle(self, command: ControlMessage, descriptors: Sequence[int]) -> None:
        """Fork, or kill, or stop."""
        match command:
            case ForkZygote():
                self._fork(command, command.zygote_id, descriptors)
            case ForkSlot():
                self._fork(command, command.slot_id, descriptors)
            case LendFolder():
                self._lend(command, descriptors)
            case PrepareForks():
                self._prepare_forks()
            case StoreBytecode():
                self._store_bytecode(descriptors)
            case Kill():
                if command.worker_id in self._births:
                    self._births.finish(command.worker_id)
                if command.worker_id in self._pids:
                    kill(self._pids[command.worker_id], SIGKILL)
            case Shutdown():
                self.stop()
            case _:
                self.complain(f"{type(command).__name__} is not for a zygote")

    def on_ended(self, pid: int, status: int, usage: struct_rusage) -> None:
        """Report the end of a child that is known; the others were midwives, who may have said something."""
        self._births.on_ended(pid)
        for child_id, known in self._pids.items():
            if known == pid:
                del self._pids[child_id]
                self.send(describe_end(child_id, status, [usage]))
                return

    def _fork(self, command: ForkZygote | ForkSlot, child_id: int, descriptors: Sequence[int]) -> None:
        if len(descriptors) < 1 + self._count_extra(command):
            self.fail(child_id, f"{len(descriptors)} descriptors came with {type(command).__name__}")
            return
        if child_id in self._pids or child_id in self._births:
            self.complain(f"identifier {child_id} is in use")
            return
        try:
            if isinstance(command, ForkSlot):
                self._births.add(child_id, self._begin_slot(command, descriptors))
            else:
                self._on_born(child_id, self._fork_zygote(command, descriptors))
        except BirthError as error:
            self._on_unborn(child_id, error)
        except OSError as error:
            self.fail(child_id, str(error), error.errno or 0)

    def _on_born(self, child_id: int, pid: int) -> None:
        self._pids[child_id] = pid
        self.send(Forked(id=child_id))

    def _on_unborn(self, child_id: int, error: BirthError) -> None:
        self.fail(child_id, str(error), error.errno)

    def _fork_zygote(self, command: ForkZygote, descriptors: Sequence[int]) -> int:
        if self._ids is None:
            ids = IdBlock(command.first_id, command.ids)
            return fork_zygote(lambda mapper: self._be_zygote(command, ids, descriptors, mapper), ids)
        own = self._ids
        if self.root or not command.environment or command.environment != self._heritage.environment:
            raise BirthError(f"no zygote for {command.environment or command.name} comes from here")
        return fork_zygote(lambda _: self._be_zygote(command, own, descriptors, None), None)

    def _begin_slot(self, command: ForkSlot, descriptors: Sequence[int]) -> Delivery:
        heritage = self._heritage
        if self._ids is None or heritage.runtime is None:
            raise BirthError("a base zygote has no slots")
        birth = NewSlot(
            command,
            descriptors,
            root=self.root,
            origin=heritage.origin,
            program=heritage.program,
            forget=self._forget,
            serve=heritage.runtime.serve,
        )
        return begin_slot(birth, self._ids, command.number)

    def _count_extra(self, command: ForkZygote | ForkSlot) -> int:
        """How many descriptors come with a command besides the socket and the files of control groups."""
        if isinstance(command, ForkSlot) or not command.environment:
            return 0
        return 2 if self._heritage.environment and command.plugin_root else 1

    def _lend(self, command: LendFolder, descriptors: Sequence[int]) -> None:
        if len(descriptors) != 1 or self._ids is not None:
            self.complain(f"no folder is lent from here, with {len(descriptors)} descriptors")
            return
        try:
            fork_lender(descriptors[0], command.plugin_root, copy_private=command.copy_private, forget=self._forget)
        except OSError as error:
            self.complain(f"no folder is lent: {describe_error(error)}")

    def _store_bytecode(self, descriptors: Sequence[int]) -> None:
        if len(descriptors) != 1 or self.bytecode_fd < 0:
            self.complain(f"byte code cannot be stored: {len(descriptors)} descriptors, folder {self.bytecode_fd}")
            return
        try:
            store_bytecode(descriptors[0], self.bytecode_fd, self.root)
        except (OSError, ValueError, UnpackException) as error:
            self.complain(f"byte code was not stored: {describe_error(error)}")

    def _be_zygote(self, command: ForkZygote, ids: IdBlock, descriptors: Sequence[int], mapper: Mapper | None) -> int:
        self._forget()
        os.setsid()
        control_fd, *groups = descriptors
        if command.environment:
            output_fd = groups.pop(0)
            os.dup2(output_fd, 1)
            os.dup2(output_fd, 2)
        links = [groups.pop(0)] if self._heritage.environment and command.plugin_root else []
        kept = mapper.descriptors if mapper is not None else set()
        close_other_descriptors({0, 1, 2, control_fd, *groups, *links, *kept})
        set_process_name(f"ee-zygote {command.name}")
        control = socket(fileno=control_fd)
        try:
            with blame("control_groups"):
                for group in groups:
                    os.write(group, b"0")
            lent_fd = receive_folder(links[0], command.plugin_root) if links else -1
            bytecode_fd = enter_view(self._heritage, command, copy_private=mapper is not None, lent_fd=lent_fd)
            if mapper is not None:
                mapper.enter(as_root=True)
            elif not self._heritage.environment:
                lock_mounts()  # of a zygote that is root of the user namespace that it has built its view in
            close_other_descriptors({0, 1, 2, control_fd, bytecode_fd})
            heritage = (add_imports if self._heritage.environment else import_all)(self._heritage, command)
        except (BirthError, ViewError, EnvironmentUnfitError) as error:
            failed = Zygote(control, command.name, self._heritage, ids)
            failed.fail(command.zygote_id, str(error), getattr(error, "errno", 0))
            return 0
        zygote = Zygote(control, command.name, heritage, ids)
        zygote.root, zygote.bytecode_fd = command.plugin_root, bytecode_fd
        if command.environment and not self._heritage.environment:
            gc.freeze()  # it is prepared later
        else:
            keep_memory(heritage, prepared=self._prepared)
        zygote.serve()
        return 0

    def _prepare_forks(self) -> None:
        """Do once, in the zygote of an environment, what that of a plugin without one has done before it is ready."""
        runtime = self._heritage.runtime
        if runtime is None or not self._heritage.environment or self.root or self._prepared:
            self.complain("nothing is to be prepared here")
            return
        self._prepared = True
        prepare_forks(runtime)

    def _forget(self) -> None:
        """Let go of what belongs to the parent, in a child."""
        set_wakeup_fd(-1)
        set_handler(SIGCHLD, SIG_DFL)
        self._control.detach()

    def _end_children(self) -> None:
        """Kill every child and wait for it: with it goes all that was below."""
        self._births.end_all()
        for pid in self._pids.values():
            kill(pid, SIGKILL)
        for pid in self._pids.values():
            with suppress(ChildProcessError):
                waitpid(pid, 0)

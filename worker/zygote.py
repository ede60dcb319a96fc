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
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
from worker.backing import back_heap, back_libraries
from worker.birth import BirthError, IdBlock, Mapper, blame, fork_slot, fork_zygote, lock_mounts
from worker.bytecode import store_bytecode
from worker.control import ControlLoop, describe_end
from worker.descriptors import close_other_descriptors
from worker.environment import (
    EnvironmentUnfitError,
    Runtime,
    enter_environment,
    import_trusted,
    load_runtime,
)
from worker.forking import remember_generators
from worker.greenlets import end_event_loop
from worker.immortal import share_memory
from worker.kernel import adopt_orphans, set_process_name
from worker.lending import fork_lender, receive_folder
from worker.loader import SDK, STAGE, STAND_IN, provide_sdk, sdk_version
from worker.lockdown.calls import CLONE_NEWNET, CLONE_NEWNS, unshare
from worker.lockdown.evidence import Origin
from worker.lockdown.seccomp import Program
from worker.preloading import preload
from worker.rehearsal import rehearse
from worker.slot import NewSlot
from worker.tracebacks import describe_error
from worker.versions import installed_version
from worker.view import ViewError, build_view

if TYPE_CHECKING:
    from resource import struct_rusage

__all__ = ["Heritage", "Zygote"]


MUCH: Final = 50
"""Modules that a plugin has imported, from which on its zygote moves what they are made of into files."""


@dataclass(frozen=True, slots=True)
class Heritage:
    """What everything that is forked from the base zygote is born with.

    Attributes:
        report: What ZYGOTE_READY says.
        origin: What the host looked like from here.
        program: The filter of system calls for workers.
        trees: Folders that the interpreter imports from.
        runtime: What needs `werkzeug`, as soon as it is there.
        environment: What this process, or the one that it was forked from, has imported from; empty for none.
        imported: How many modules it has imported for the sources of its plugin.
    """

    report: dict[str, object]
    origin: Origin
    program: Program
    trees: tuple[str, ...]
    runtime: Runtime | None
    environment: str = ""
    imported: int = 0


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
        self._prepared = False

    def serve(self) -> None:
        """Take commands until the supervisor is gone or says so; then end every child."""
        adopt_orphans()
        try:
            self.run(ZygoteReady(report=self._heritage.report | {"threads": threading.active_count()}))
        finally:
            self._end_children()

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
                if command.worker_id in self._pids:
                    kill(self._pids[command.worker_id], SIGKILL)
            case Shutdown():
                self.stop()
            case _:
                self.complain(f"{type(command).__name__} is not for a zygote")

    def on_ended(self, pid: int, status: int, usage: struct_rusage) -> None:
        """Report the end of a child that is known; the others were midwives."""
        for child_id, known in self._pids.items():
            if known == pid:
                del self._pids[child_id]
                self.send(describe_end(child_id, status, [usage]))
                return

    def _fork(self, command: ForkZygote | ForkSlot, child_id: int, descriptors: Sequence[int]) -> None:
        if len(descriptors) < 1 + self._count_extra(command):
            self.fail(child_id, f"{len(descriptors)} descriptors came with {type(command).__name__}")
            return
        if child_id in self._pids:
            self.complain(f"identifier {child_id} is in use")
            return
        try:
            if isinstance(command, ForkSlot):
                pid = self._fork_slot(command, descriptors)
            else:
                pid = self._fork_zygote(command, descriptors)
        except BirthError as error:
            self.fail(child_id, str(error), error.errno)
        except OSError as error:
            self.fail(child_id, str(error), error.errno or 0)
        else:
            self._pids[child_id] = pid
            self.send(Forked(id=child_id))

    def _fork_zygote(self, command: ForkZygote, descriptors: Sequence[int]) -> int:
        if self._ids is None:
            ids = IdBlock(command.first_id, command.ids)
            return fork_zygote(lambda mapper: self._be_zygote(command, ids, descriptors, mapper), ids)
        own = self._ids
        if self.root or not command.environment or command.environment != self._heritage.environment:
            raise BirthError(f"no zygote for {command.environment or command.name} comes from here")
        return fork_zygote(lambda _: self._be_zygote(command, own, descriptors, None), None)

    def _fork_slot(self, command: ForkSlot, descriptors: Sequence[int]) -> int:
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
        return fork_slot(birth, self._ids, command.number)

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
            bytecode_fd = self._enter_view(command, copy_private=mapper is not None, lent_fd=lent_fd)
            if mapper is not None:
                mapper.enter(as_root=True)
            elif not self._heritage.environment:
                lock_mounts()  # of a zygote that is root of the user namespace that it has built its view in
            close_other_descriptors({0, 1, 2, control_fd, bytecode_fd})
            heritage = self._inherit(command) if self._heritage.environment else self._import(command)
        except (BirthError, ViewError, EnvironmentUnfitError) as error:
            failed = Zygote(control, command.name, self._heritage, ids)
            failed.fail(command.zygote_id, str(error), getattr(error, "errno", 0))
            return 0
        zygote = Zygote(control, command.name, heritage, ids)
        zygote.root, zygote.bytecode_fd = command.plugin_root, bytecode_fd
        if command.environment and not self._heritage.environment:
            gc.freeze()  # it is prepared later
        else:
            share_memory()
            self._back(command, heritage)
        zygote.serve()
        return 0

    def _back(self, command: ForkZygote, heritage: Heritage) -> None:
        """Move memory into files, unless that of the environment has done so, or somebody waits for a first one.

        What a plugin imports besides is worth it where that is much: 0.3 s, for a sixth of each worker's price.
        """
        much = heritage.imported >= MUCH
        if much and (self._prepared or not command.environment):
            back_libraries(text=False)
        if not command.environment or (much and self._prepared):
            back_heap()

    def _prepare_forks(self) -> None:
        """Do once, in the zygote of an environment, what that of a plugin without one has done before it is ready."""
        runtime = self._heritage.runtime
        if runtime is None or not self._heritage.environment or self.root or self._prepared:
            self.complain("nothing is to be prepared here")
            return
        self._prepared = True
        gc.unfreeze()
        if SDK in sys.modules:
            rehearse(runtime)
        share_memory()
        back_libraries(text=False)  # of the environment; those of the interpreter are moved already
        back_heap()

    def _inherit(self, command: ForkZygote) -> Heritage:
        """Have what the zygote of the environment has imported, and none of its sockets."""
        _leave_network(command.off)
        with remember_generators():
            preloaded = preload(command.imports, command.plugin_root)
        report = self._heritage.report | {"name": command.name} | preloaded.report()
        return replace(self._heritage, report=report, imported=preloaded.modules)

    def _import(self, command: ForkZygote) -> Heritage:
        """Import what all workers of the plugin have in common.

        What is in its environment was chosen by the plugin: it is imported without a network. Nothing of it is run
        with the rights of the executor, which were given up before.
        """
        if bool(command.environment) != (self._heritage.runtime is None):
            raise EnvironmentUnfitError(
                f"this interpreter is not for the environment {command.environment or 'of ours'}"
            )
        if command.environment or command.imports:
            _leave_network(command.off)
        if command.environment:
            enter_environment(command.environment)
        sys.path[:0] = command.sys_path
        provide_sdk()
        with remember_generators():
            import_trusted(command.preload, command.environment)
            preloaded = preload(command.imports, command.plugin_root)
        runtime = self._heritage.runtime or load_runtime()
        if not command.environment and SDK in sys.modules:
            rehearse(runtime)
        end_event_loop()
        werkzeug = sys.modules["werkzeug"]
        facts = {
            "name": command.name,
            "preload": list(command.preload),
            "sdk": sdk_version(),
            "werkzeug": installed_version("werkzeug", werkzeug.__file__ or ""),
        }
        report = self._heritage.report | facts | preloaded.report()
        return replace(
            self._heritage, report=report, runtime=runtime, environment=command.environment, imported=preloaded.modules
        )

    def _enter_view(self, command: ForkZygote, *, copy_private: bool, lent_fd: int) -> int:
        environment = (command.environment,) if command.environment else ()
        trees = (*self._heritage.trees, *command.sys_path, *environment, *command.trees, STAND_IN, STAGE)
        with blame("mount_namespace"):
            unshare(CLONE_NEWNS)
            return build_view(trees, command.plugin_root, copy_private=copy_private, lent_fd=lent_fd)

    def _forget(self) -> None:
        """Let go of what belongs to the parent, in a child."""
        set_wakeup_fd(-1)
        set_handler(SIGCHLD, SIG_DFL)
        self._control.detach()

    def _end_children(self) -> None:
        """Kill every child and wait for it: with it goes all that was below."""
        for pid in self._pids.values():
            kill(pid, SIGKILL)
        for pid in self._pids.values():
            with suppress(ChildProcessError):
                waitpid(pid, 0)


def _leave_network(off: Sequence[str]) -> None:
    """See no network but a loopback that is down, with nobody else in it."""
    if "network_namespace" not in off:
        with blame("network_namespace"):
            unshare(CLONE_NEWNET)

"""Control datagrams between the supervisor and the processes that fork: zygotes and slots.

    datagram = one msgpack array: [type, field, ...]            at most MAX_CONTROL bytes

One datagram of a SOCK_SEQPACKET socket is one message, so there is no framing. Descriptors ride along as
SCM_RIGHTS; the docstrings say which, in order. Process ids are never fields: in another pid namespace the same
process has another number, and only the kernel can translate one, which it does for SCM_CREDENTIALS. Both ends are
the executor's own code, yet the same strictness holds.

    base zygote         FORK_ZYGOTE KILL SHUTDOWN LEND_FOLDER       Which commands each of them takes. KILL is for the
    environment zygote  FORK_ZYGOTE KILL SHUTDOWN PREPARE_FORKS     children of the one that takes it: zygotes, slots,
    plugin zygote       FORK_SLOT   KILL SHUTDOWN STORE_BYTECODE    workers.
    slot                FORK_WORKER KILL SHUTDOWN PREPARE_WORKER
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias, final

from protocol.checks import check_bool, check_float, check_int, check_limits, check_map, check_text, check_texts
from protocol.codec import decode_payload, pack
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import (
    MAX_CONTROL,
    MAX_ENTRIES,
    MAX_ID,
    MAX_IMPORT,
    MAX_IMPORTS,
    MAX_LAYERS,
    MAX_NAME,
    MAX_PATH,
    MAX_PATHS,
    MAX_WORD,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "COMPILE_SOURCE",
    "CONTROL_TYPES",
    "ControlMessage",
    "Exited",
    "ForkFailed",
    "ForkSlot",
    "ForkWorker",
    "ForkZygote",
    "Forked",
    "Kill",
    "LendFolder",
    "PrepareForks",
    "PrepareWorker",
    "Shutdown",
    "SlotReady",
    "StoreBytecode",
    "ZygoteReady",
    "decode_control",
    "encode_control",
]

COMPILE_SOURCE: Final = ":bytecode"
"""A source that no plugin has. A worker that is asked for it answers with the byte code of its plugin."""

_MAX_HOST_ID: Final = 2**32 - 2
"""Largest user or group id: the one above, (uid_t) -1, stands for none (setresuid(2))."""
_MAX_SLOT: Final = 2**31 - 1
"""Largest number of a slot, which has two of the host ids."""
_MAX_ERRNO: Final = 4095
_MAX_WAIT_STATUS: Final = 0xFFFF
_MAX_SECONDS: Final = 2.0**40


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareWorker:
    """Command to a slot without a worker: what the next workers are for, until another one comes. It is not answered.

    Attributes:
        sources: Endpoint sources to import, relative to the plugin's folder.
        limits: What a worker may use, by name, 0..MAX_ID each: sizes in bytes, `cpu_time` in whole seconds, the
            rest counts. A limit that is not named is not set.
        debug: Whether log records below INFO are wanted.
    """

    sources: tuple[str, ...]
    limits: dict[str, int]
    debug: bool

    def __post_init__(self) -> None:
        check_texts("sources", self.sources, MAX_PATHS, MAX_PATH)
        check_limits(self.limits)
        check_bool("debug", self.debug)


@final
@dataclass(frozen=True, slots=True)
class ForkWorker:
    """Command to a slot: fork a worker. Descriptors: its input, its output, its stdout, its stderr.

    It comes for every request, and so says nothing else.
    """

    worker_id: int

    def __post_init__(self) -> None:
        check_int("worker_id", self.worker_id, 0, MAX_ID)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ForkZygote:
    """Command to the base zygote, or to that of an environment: fork the zygote of a plugin or of an environment.

    It imports modules, unless that of its environment has done so, and forks slots, or further zygotes where it has an
    environment and no plugin.

    Descriptors: its socket, one for its output where it has an environment, one for the plugin's folder (LEND_FOLDER)
    where an environment's zygote is to fork that of a plugin, and those of the `cgroup.procs` files that it joins.

    Attributes:
        zygote_id: Identifier, in the same space as those of workers and slots.
        name: For people: process title and logs.
        preload: Names of modules to import, in order.
        imports: What the plugin's sources import from outside of its folder: `package.module`, or `package.module:name`
            for a name that is imported from one. Imported by the plugin's zygote, as far as that works.
        sys_path: Directories to put before `sys.path`.
        plugin_root: Absolute path of the plugin's folder, to be seen read-only; empty where there is no plugin.
        environment: Absolute path of the virtual environment to import from; empty for that of the executor.
        trees: Absolute paths of folders and files to be seen read-only besides those that are seen anyway.
        first_id: First of the host ids for the workers of this executor, never 0 where there are any.
        ids: How many there are; 0 where it runs rootless, as every process then has the one id of its user.
        off: Layers of isolation that the operator switched off.
    """

    zygote_id: int
    name: str
    preload: tuple[str, ...]
    imports: tuple[str, ...]
    sys_path: tuple[str, ...]
    plugin_root: str
    environment: str
    trees: tuple[str, ...]
    first_id: int
    ids: int
    off: tuple[str, ...]

    def __post_init__(self) -> None:
        check_int("zygote_id", self.zygote_id, 0, MAX_ID)
        check_text("name", self.name, 0, MAX_NAME)
        check_texts("preload", self.preload, MAX_PATHS, MAX_PATH)
        check_texts("imports", self.imports, MAX_IMPORTS, MAX_IMPORT)
        check_texts("sys_path", self.sys_path, MAX_PATHS, MAX_PATH)
        check_text("plugin_root", self.plugin_root, 0, MAX_PATH)
        check_text("environment", self.environment, 0, MAX_PATH)
        check_texts("trees", self.trees, MAX_PATHS, MAX_PATH)
        check_int("ids", self.ids, 0, _MAX_HOST_ID)
        if self.ids:
            check_int("first_id", self.first_id, 1, _MAX_HOST_ID + 1 - self.ids)
        else:
            check_int("first_id", self.first_id, 0, _MAX_HOST_ID)
        check_texts("off", self.off, MAX_LAYERS, MAX_WORD)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LendFolder:
    """Command to the base zygote: lend the folder of a plugin to a zygote that does not see the host. Not answered.

    Descriptor: a socket, over which the folder goes, as the descriptor of a detached mount, or why it does not.

    Attributes:
        plugin_root: Absolute path of the folder.
        copy_private: Whether a folder that not everybody may read is copied, since workers have ids of their own.
    """

    plugin_root: str
    copy_private: bool

    def __post_init__(self) -> None:
        check_text("plugin_root", self.plugin_root, 1, MAX_PATH)
        check_bool("copy_private", self.copy_private)


@final
@dataclass(frozen=True, slots=True)
class PrepareForks:
    """Command to the zygote of an environment: do now what makes all that is forked later cost less. Not answered.

    What was forked before goes on without; commands that come after it wait.
    """


@final
@dataclass(frozen=True, slots=True)
class ForkSlot:
    """Command to a plugin's zygote: fork a slot, which serves one worker after another.

    Descriptors: its socket, then those of the `cgroup.procs` files that it joins.

    Attributes:
        slot_id: Identifier, in the same space as those of workers and zygotes.
        name: For people: process title and logs.
        number: Picks its two host ids; no two slots that are there at once have the same.
        off: Layers of isolation that the operator switched off.
    """

    slot_id: int
    name: str
    number: int
    off: tuple[str, ...]

    def __post_init__(self) -> None:
        check_int("slot_id", self.slot_id, 0, MAX_ID)
        check_text("name", self.name, 0, MAX_NAME)
        check_int("number", self.number, 0, _MAX_SLOT)
        check_texts("off", self.off, MAX_LAYERS, MAX_WORD)


@final
@dataclass(frozen=True, slots=True)
class Kill:
    """Command: SIGKILL the child, worker or slot or zygote, and everything that it has started."""

    worker_id: int

    def __post_init__(self) -> None:
        check_int("worker_id", self.worker_id, 0, MAX_ID)


@final
@dataclass(frozen=True, slots=True)
class Shutdown:
    """Command: kill every child and exit."""


@final
@dataclass(frozen=True, slots=True)
class StoreBytecode:
    """Command to a zygote of a plugin: let workers have byte code. Descriptor: a file, the answer to COMPILE_SOURCE."""


@final
@dataclass(frozen=True, slots=True)
class ZygoteReady:
    """Report: the zygote takes commands. The report is plain data by name. Credentials: those of the zygote."""

    report: dict[str, object]

    def __post_init__(self) -> None:
        check_map("report", self.report, MAX_ENTRIES, MAX_CONTROL)


@final
@dataclass(frozen=True, slots=True)
class SlotReady:
    """Report: the slot takes commands. The report is plain data by name. Credentials: those of the slot."""

    report: dict[str, object]

    def __post_init__(self) -> None:
        check_map("report", self.report, MAX_ENTRIES, MAX_CONTROL)


@final
@dataclass(frozen=True, slots=True)
class Forked:
    """Report: the worker, slot or zygote with this identifier runs. Credentials, from a slot: those of the worker."""

    id: int

    def __post_init__(self) -> None:
        check_int("id", self.id, 0, MAX_ID)


@final
@dataclass(frozen=True, slots=True)
class ForkFailed:
    """Report: it could not be forked. `errno` is 0 where the cause was not a system call."""

    id: int
    errno: int
    message: str

    def __post_init__(self) -> None:
        check_int("id", self.id, 0, MAX_ID)
        check_int("errno", self.errno, 0, _MAX_ERRNO)
        check_text("message", self.message, 0, MAX_PATH)


@final
@dataclass(frozen=True, slots=True)
class Exited:
    """Report: a child has ended and has been waited for.

    Attributes:
        id: Identifier of the worker, slot or zygote.
        status: Wait status, to be read with `os.waitstatus_to_exitcode`.
        utime_s: CPU seconds in user mode, with those of its waited-for children.
        stime_s: CPU seconds in the kernel.
        max_rss_bytes: Peak resident memory.
        minor_faults: Page faults served without I/O.
        major_faults: Page faults that needed I/O.
        killed_descendants: Processes that were still there and were killed.
    """

    id: int
    status: int
    utime_s: float
    stime_s: float
    max_rss_bytes: int
    minor_faults: int
    major_faults: int
    killed_descendants: int

    def __post_init__(self) -> None:
        check_int("id", self.id, 0, MAX_ID)
        check_int("status", self.status, 0, _MAX_WAIT_STATUS)
        check_float("utime_s", self.utime_s, 0.0, _MAX_SECONDS)
        check_float("stime_s", self.stime_s, 0.0, _MAX_SECONDS)
        check_int("max_rss_bytes", self.max_rss_bytes, 0, MAX_ID)
        check_int("minor_faults", self.minor_faults, 0, MAX_ID)
        check_int("major_faults", self.major_faults, 0, MAX_ID)
        check_int("killed_descendants", self.killed_descendants, 0, MAX_ID)


ControlMessage: TypeAlias = (
    PrepareWorker
    | ForkWorker
    | ForkZygote
    | Kill
    | Shutdown
    | ForkSlot
    | StoreBytecode
    | LendFolder
    | PrepareForks
    | ZygoteReady
    | Forked
    | ForkFailed
    | Exited
    | SlotReady
)

CONTROL_TYPES: Final[Mapping[int, type[ControlMessage]]] = MappingProxyType(
    {
        0x01: ForkWorker,
        0x02: ForkZygote,
        0x03: Kill,
        0x04: Shutdown,
        0x05: ForkSlot,
        0x06: StoreBytecode,
        0x07: PrepareWorker,
        0x08: LendFolder,
        0x09: PrepareForks,
        0x41: ZygoteReady,
        0x42: Forked,
        0x43: ForkFailed,
        0x44: Exited,
        0x45: SlotReady,
    }
)
"""Type -> message. Commands are below 0x40, reports above."""

_CODES: Final = {message: code for code, message in CONTROL_TYPES.items()}
_NAMES: Final = {message: tuple(field.name for field in fields(message)) for message in CONTROL_TYPES.values()}


def encode_control(message: ControlMessage) -> bytes:
    """Return the datagram of a message.

    Raises:
        LocalProtocolError: It is over MAX_CONTROL bytes.
    """
    kind = type(message)
    data = pack([_CODES[kind], *[getattr(message, name) for name in _NAMES[kind]]])
    if len(data) > MAX_CONTROL:
        raise LocalProtocolError(f"{kind.__name__}: {len(data)} bytes, at most {MAX_CONTROL}")
    return data


def decode_control(data: bytes) -> ControlMessage:
    """Return the message in a datagram.

    Raises:
        RemoteProtocolError: The datagram is malformed, or the message would be illegal.
    """
    if len(data) > MAX_CONTROL:
        raise RemoteProtocolError(f"control: {len(data)} bytes, at most {MAX_CONTROL}")
    values = decode_payload(data, count=-1, nested=True)
    code = values.pop(0) if values else None
    kind = CONTROL_TYPES.get(code) if type(code) is int else None
    if kind is None:
        raise RemoteProtocolError("control: unknown type")
    names = _NAMES[kind]
    if len(values) != len(names):
        raise RemoteProtocolError(f"{kind.__name__}: {len(values)} fields, expected {len(names)}")
    frozen = [tuple(value) if type(value) is list else value for value in values]
    build: Callable[..., ControlMessage] = kind
    try:
        return build(**dict(zip(names, frozen, strict=True)))
    except LocalProtocolError as error:
        raise RemoteProtocolError(f"{kind.__name__}: {error}") from error

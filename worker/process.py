"""The steps between a fork and a worker that may run endpoint code, in order, each of them mandatory.

Theory of operation
-------------------
`STEPS` is the list; a step is a function of the `Birth`, and the one thing it does is in its name. The first step that
fails ends the process: the supervisor gets ERROR `internal` with the name of the step, and nothing of the plugin was
run. `lock_down` is a list of its own, `LOCKS`: each is a layer of isolation, which fails the worker if it is required
and is noted otherwise. After them, what really holds is looked at from inside and told to the supervisor (LOCKED). The
layers before these are the zygote's and the slot's.

Descriptors, afterwards: 0 is /dev/null, 1 and 2 are the supervisor's pipes for output, the two of the protocol have
high numbers and are closed on exec. There are no others. C code or a shell that writes to 0, 1 or 2, or closes them,
does not disturb the protocol.

A worker ends with `os._exit`: nothing of the endpoint's runs after the answer and its hooks, and nothing that the
zygote has set up is torn down twice.
"""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from signal import set_wakeup_fd
from signal import signal as set_handler
from typing import Final

from protocol import MAX_ERROR_TEXT, Error, Locked, Prepare, clip
from worker.birth import EXIT_INTERNAL
from worker.channel import Cancelled, Channel, NotTheWorkerError
from worker.invoke import serve
from worker.kernel import set_process_name
from worker.loader import Loader, provide_sdk, sdk_version
from worker.lockdown.calls import close_range
from worker.lockdown.credentials import become_unprivileged, drop_capabilities, forbid_new_privileges
from worker.lockdown.evidence import Place, look_at_layers
from worker.lockdown.landlock import restrict_files
from worker.lockdown.limits import limit_resources
from worker.lockdown.private import enter_ipc, make_private_files
from worker.lockdown.seccomp import Program
from worker.logs import flush_output, start_logging, write_error
from worker.tracebacks import describe_error, format_error
from worker.view import SCRATCH

__all__ = [
    "LOCKS",
    "STEPS",
    "Birth",
    "SetUpError",
    "become_worker",
    "close_other_descriptors",
    "enter_plugin",
    "lock_down",
    "place_descriptors",
    "receive_prepare",
    "replace_environment",
    "report_layers",
    "reset_signals",
    "set_umask",
    "start_logs",
    "start_session",
]

HIGHEST_DESCRIPTOR: Final = 1023
"""Largest number for the protocol's descriptors: select(2) handles none above, and closing loops stop below."""

PRIVATE_UMASK: Final = 0o077

LAST_DESCRIPTOR: Final = 2**31 - 1

WRITABLE_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full")

KEPT_IGNORED: Final = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
"""Signals that Python programs expect to be ignored, so that they get an exception instead."""


class SetUpError(Exception):
    """A step failed; the text names it."""


@dataclass(slots=True)
class Birth:
    """A worker on its way.

    Attributes:
        pipes: Its input, output, stdout and stderr, as the supervisor sent them.
        place: The slot that it is in.
        program: The filter of system calls.
        report: What READY will say.
        channel: Once the pipes are in place.
        prepare: Once it has come.
    """

    pipes: tuple[int, int, int, int]
    place: Place
    program: Program
    report: dict[str, object] = field(default_factory=dict)
    channel: Channel | None = None
    prepare: Prepare | None = None

    def need_prepare(self) -> Prepare:
        """Return PREPARE.

        Raises:
            SetUpError: It has not come.
        """
        if self.prepare is None:
            raise SetUpError("PREPARE was expected")
        return self.prepare


def start_session(_birth: Birth) -> None:
    """Lead a session and a process group of its own, without a terminal."""
    os.setsid()


def reset_signals(_birth: Birth) -> None:
    """Undo what the zygote has set up: handlers, blocked signals, the wake-up descriptor."""
    set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        set_handler(number, signal.SIG_DFL)
    set_handler(signal.SIGINT, signal.default_int_handler)
    for number in KEPT_IGNORED:
        set_handler(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def place_descriptors(birth: Birth) -> None:
    """Put output on 1 and 2, /dev/null on 0, and the protocol on high numbers."""
    requests, responses, stdout, stderr = birth.pipes
    highest = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], HIGHEST_DESCRIPTOR + 1)
    read_fd = fcntl.fcntl(requests, fcntl.F_DUPFD_CLOEXEC, highest - 2)
    write_fd = fcntl.fcntl(responses, fcntl.F_DUPFD_CLOEXEC, highest - 2)
    # The pipes may sit on 0, 1 or 2 if the zygote was started with these closed: move them away before replacing.
    output = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3) for descriptor in (stdout, stderr)]
    os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
    os.dup2(output[0], 1)
    os.dup2(output[1], 2)
    birth.channel = Channel(read_fd, write_fd)
    os.register_at_fork(after_in_child=birth.channel.abandon)
    close_other_descriptors({0, 1, 2, read_fd, write_fd})


def receive_prepare(birth: Birth) -> None:
    """Wait for the supervisor to say what this worker is for."""
    message = birth.channel.receive() if birth.channel is not None else None
    if message is None:
        raise Cancelled("the supervisor has gone")
    if not isinstance(message, Prepare):
        raise SetUpError(f"PREPARE was expected, {type(message).__name__} came")
    birth.prepare = message


def replace_environment(birth: Birth) -> None:
    """Replace the whole environment, and make the private folder home and temporary folder."""
    os.environ.clear()
    os.environ.update(birth.need_prepare().environ)
    os.environ["HOME"] = os.environ["TMPDIR"] = SCRATCH
    tempfile.tempdir = None


def set_umask(_birth: Birth) -> None:
    """Make new files private."""
    os.umask(PRIVATE_UMASK)


def lock_down(birth: Birth) -> None:
    """Apply every layer of isolation that a worker applies to itself.

    Raises:
        SetUpError: One that is required cannot be had.
    """
    prepare = birth.need_prepare()
    for layer, apply in LOCKS:
        if layer in birth.place.off:
            continue
        try:
            apply(birth)
        except OSError as error:
            if layer in prepare.required:
                raise SetUpError(f"{layer}: {error}") from error
            birth.place.failed[layer] = str(error)


def report_layers(birth: Birth) -> None:
    """Look at every layer from inside, and tell the supervisor.

    Raises:
        SetUpError: One that is required does not hold.
    """
    prepare = birth.need_prepare()
    seen = look_at_layers(birth.place, prepare.limits)
    missing = [layer for layer in prepare.required if layer not in seen or not seen[layer].holds]
    if missing:
        raise SetUpError(f"{missing[0]}: {seen[missing[0]].text if missing[0] in seen else 'there is no such layer'}")
    if birth.channel is not None:
        birth.channel.send(Locked(report={layer: asdict(evidence) for layer, evidence in seen.items()}))


def enter_plugin(birth: Birth) -> None:
    """Make the plugin's folder the working directory and the first place to import from; leave nothing in it."""
    root = birth.need_prepare().plugin_root
    os.chdir(root)
    sys.path.insert(0, root)
    sys.argv[:] = [os.path.join(root, "main.py")]
    sys.dont_write_bytecode = True
    provide_sdk()


def start_logs(birth: Birth) -> None:
    """Send log records to the supervisor: from INFO on, or from DEBUG on when debugging."""
    if birth.channel is not None:
        debug = birth.need_prepare().options.get("debug") is True
        start_logging(birth.channel, logging.DEBUG if debug else logging.INFO)


def _restrict_files(_birth: Birth) -> None:
    restrict_files((SCRATCH,), WRITABLE_DEVICES)


LOCKS: Final[tuple[tuple[str, Callable[[Birth], None]], ...]] = (
    ("ipc_namespace", lambda _: enter_ipc()),
    ("mount_namespace", lambda birth: make_private_files(birth.need_prepare().limits)),
    ("resource_limits", lambda birth: limit_resources(birth.need_prepare().limits)),
    ("unprivileged_user", lambda _: become_unprivileged()),
    ("capabilities", lambda _: drop_capabilities()),
    ("no_new_privileges", lambda _: forbid_new_privileges()),
    ("landlock", _restrict_files),
    ("seccomp", lambda birth: birth.program.install()),
)
"""The layers of isolation that a worker applies to itself, in this order: each needs rights that a later one takes."""

STEPS: Final[tuple[Callable[[Birth], None], ...]] = (
    start_session,
    reset_signals,
    place_descriptors,
    receive_prepare,
    replace_environment,
    set_umask,
    lock_down,
    report_layers,
    enter_plugin,
    start_logs,
)
"""What a forked child goes through, in this order, before it runs any code of the plugin."""


def become_worker(birth: Birth) -> int:
    """Go through the steps, then serve one invocation.

    Returns:
        The exit status: 0, or EXIT_INTERNAL.
    """
    try:
        _take_steps(birth)
        _serve(birth)
    except Cancelled:
        return _final_status(birth)
    except NotTheWorkerError as error:
        write_error(f"a process that the endpoint has forked was ended: {error}\n")
        return EXIT_INTERNAL
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is ours, and it must be told
        _report_failure(birth, error)
        return EXIT_INTERNAL
    finally:
        flush_output()
    return _final_status(birth)


def _final_status(birth: Birth) -> int:
    """Return 0, unless it ended because the supervisor could not be understood."""
    violation = birth.channel.violation if birth.channel is not None else None
    if violation is None:
        return 0
    write_error(f"worker: the supervisor broke the protocol: {violation}\n")
    return EXIT_INTERNAL


def close_other_descriptors(kept: Iterable[int]) -> None:
    """Close every descriptor of this process but these."""
    first = 0
    for descriptor in sorted(kept):
        if first < descriptor:
            close_range(first, descriptor - 1)
        first = descriptor + 1
    close_range(first, LAST_DESCRIPTOR)


def _take_steps(birth: Birth) -> None:
    for step in STEPS:
        try:
            step(birth)
        except Exception as error:
            text = str(error) if isinstance(error, SetUpError) else describe_error(error)
            raise SetUpError(f"step {step.__name__}: {text}") from error


def _serve(birth: Birth) -> None:
    prepare = birth.need_prepare()
    if birth.channel is None:
        raise SetUpError("there is no channel")
    set_process_name("ee-worker")
    report: dict[str, object] = {"sdk": sdk_version()} if "sdk" not in birth.report else {}
    report |= birth.report | {"pid": os.getpid(), "sources": list(prepare.sources)}
    serve(birth.channel, Loader(Path(prepare.plugin_root)), prepare.sources, report)


def _report_failure(birth: Birth, error: BaseException) -> None:
    """Tell the supervisor that we failed; where even that fails, whoever reads descriptor 2."""
    try:
        if birth.channel is None:
            birth.channel = Channel(birth.pipes[0], birth.pipes[1])
        message = clip(f"worker: {error}", MAX_ERROR_TEXT)
        birth.channel.send(Error(code="internal", message=message, traceback=format_error(error)))
    except BaseException as second:  # noqa: BLE001
        write_error(f"worker: {describe_error(error)}; reporting it failed: {describe_error(second)}\n")

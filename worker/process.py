"""The steps between the fork of a worker and its plugin, in order, each of them mandatory.

Theory of operation
-------------------
A worker is born locked down: it is a fork of the template (`worker.template`), in a slot (`worker.slot`). What is left
to do is what differs from worker to worker. `STEPS` is the list; a step is a function of the `Birth`, and the one thing
it does is in its name. The first step that fails ends the process: the supervisor gets ERROR `internal` with the name
of the step, and nothing of the plugin was run.

Descriptors, afterwards: 0 is /dev/null, 1 and 2 are the supervisor's pipes for output, the two of the protocol have
high numbers and are closed on exec. There are no others. C code or a shell that writes to 0, 1 or 2, or closes them,
does not disturb the protocol.

A worker ends with `os._exit`: nothing of the endpoint's runs after the answer and its hooks, and nothing that the
zygote has set up is torn down twice.

Every page of memory that these steps write to, be it for a count of references, has to be copied for each worker. So
they are plain code, and what can be done before the fork is done there (decision 0013).
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from fcntl import F_DUPFD_CLOEXEC, fcntl
from os import dup2, setsid
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit
from typing import Final

from protocol import MAX_ERROR_TEXT, Error, Prepare, clip
from worker.birth import EXIT_INTERNAL
from worker.channel import Cancelled, Channel, NotTheWorkerError
from worker.descriptors import close_other_descriptors
from worker.forking import start_alone
from worker.invoke import serve
from worker.kernel import set_process_name
from worker.loader import Loader, provide_sdk, sdk_version
from worker.lockdown.limits import limit_resources
from worker.logs import flush_output, start_logging, write_error
from worker.tracebacks import describe_error, format_error
from worker.view import TEMPORARY

__all__ = [
    "STEPS",
    "Birth",
    "SetUpError",
    "become_worker",
    "enter_plugin",
    "limit",
    "place_descriptors",
    "receive_prepare",
    "replace_environment",
    "start_logs",
    "start_session",
]

HIGHEST_DESCRIPTOR: Final = 1023
"""Largest number for the protocol's descriptors: select(2) handles none above, and closing loops stop below."""


class SetUpError(Exception):
    """A step failed; the text names it."""


@dataclass(slots=True)
class Birth:
    """A worker on its way.

    Attributes:
        pipes: Its input, output, stdout and stderr, as the supervisor sent them; none of them is 0, 1 or 2.
        report: What READY will say.
        channel: Once the pipes are in place.
        prepare: Once it has come.
    """

    pipes: tuple[int, int, int, int]
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
    """Be a process of its own: a session without the template, which signals to the group would reach, and a name."""
    setsid()
    start_alone()
    set_process_name("ee-worker")


def place_descriptors(birth: Birth) -> None:
    """Put output on 1 and 2, and the protocol on high numbers; 0 is /dev/null already."""
    requests, responses, stdout, stderr = birth.pipes
    highest = min(getrlimit(RLIMIT_NOFILE)[0], HIGHEST_DESCRIPTOR + 1)
    read_fd = fcntl(requests, F_DUPFD_CLOEXEC, highest - 2)
    write_fd = fcntl(responses, F_DUPFD_CLOEXEC, highest - 2)
    dup2(stdout, 1)
    dup2(stderr, 2)
    birth.channel = Channel(read_fd, write_fd)
    os.register_at_fork(after_in_child=birth.channel.abandon)
    close_other_descriptors((0, 1, 2, read_fd, write_fd))


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
    os.environ["HOME"] = os.environ["TMPDIR"] = TEMPORARY
    tempfile.tempdir = None


def limit(birth: Birth) -> None:
    """Set the limits of resources that PREPARE names; they can be lowered afterwards, never raised."""
    limit_resources(birth.need_prepare().limits)


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


STEPS: Final[tuple[Callable[[Birth], None], ...]] = (
    start_session,
    place_descriptors,
    receive_prepare,
    replace_environment,
    limit,
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

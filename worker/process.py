"""The steps between the fork of a worker and its plugin, in order, each of them mandatory.

Theory of operation
-------------------
A worker is born locked down: it is a fork of the template (`worker.template`), in a slot (`worker.slot`). What all
workers of a plugin have in common is done before the fork (`prepare_birth`), unless plugin code could take part in it.
`STEPS` is the list of what is left; a step is a function of the `Birth`, and the one thing it does is in its name. The
first step that fails ends the process: the supervisor gets ERROR `internal` with the name of the step, and nothing of
the plugin was run.

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
from _signal import SIG_SETMASK, pthread_sigmask  # type: ignore[import-not-found]  # not wrapped as in `signal`
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fcntl import F_DUPFD_CLOEXEC, fcntl
from os import chdir, closerange, dup2, setsid
from resource import RLIMIT_NOFILE, getrlimit
from typing import Final

from protocol import MAX_ERROR_TEXT, Error, clip
from protocol.messages import EXIT_OUT_OF_TIME
from worker.birth import EXIT_INTERNAL
from worker.channel import Cancelled, Channel, NotTheWorkerError
from worker.environment import Serve
from worker.forking import register_at_fork, start_alone
from worker.imports import find_folders, find_plugin_modules
from worker.loader import Loader, provide_sdk
from worker.lockdown.limits import ResourceLimits, set_limits
from worker.logs import flush_output, start_logging, write_error
from worker.tracebacks import describe_error, format_error
from worker.view import TEMPORARY

__all__ = [
    "FIRST_OTHER",
    "STEPS",
    "Birth",
    "SetUpError",
    "become_worker",
    "enter_plugin",
    "limit",
    "look_like_worker",
    "place_descriptors",
    "prepare_birth",
    "start_session",
]

FIRST_OTHER: Final = 3
"""The descriptor after those for input and output."""

HIGHEST_DESCRIPTOR: Final = 1023
"""Largest number for the protocol's descriptors: select(2) handles none above, and closing loops stop below."""


class SetUpError(Exception):
    """A step failed; the text names it."""


@dataclass(slots=True)
class Birth:
    """A worker on its way. All but the pipes is there before the fork.

    Attributes:
        root: The plugin's folder; empty where there is none.
        loader: Finds the plugin's endpoint classes.
        channel: Not open yet.
        serve: Answers one invocation.
        sources: To be imported before READY.
        limits: What the worker may use.
        debug: Whether log records below INFO are wanted.
        pipes: Its input, output, stdout and stderr, as the supervisor sent them; none of them is 0, 1 or 2.
    """

    root: str
    loader: Loader
    channel: Channel
    serve: Serve
    sources: tuple[str, ...] = ()
    limits: ResourceLimits = ()
    debug: bool = False
    pipes: Sequence[int] = ()


def start_session(_birth: Birth) -> None:
    """Be a process of its own: in a session without the template, with signals and random numbers like others."""
    setsid()
    pthread_sigmask(SIG_SETMASK, ())
    start_alone()


def place_descriptors(birth: Birth) -> None:
    """Put output on 1 and 2, the protocol on high numbers, and /dev/null on 0.

    That is on 0 already, but open for all workers in common, and with it its flags, which one sets and the next sees.
    """
    requests, responses, stdout, stderr = birth.pipes
    highest = min(getrlimit(RLIMIT_NOFILE)[0], HIGHEST_DESCRIPTOR + 1)
    read_fd = fcntl(requests, F_DUPFD_CLOEXEC, highest - 2)
    write_fd = fcntl(responses, F_DUPFD_CLOEXEC, highest - 2)
    dup2(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), 0)
    dup2(stdout, 1)
    dup2(stderr, 2)
    birth.channel.open(read_fd, write_fd)
    closerange(FIRST_OTHER, read_fd)  # the template has none but with low numbers


def limit(birth: Birth) -> None:
    """Set the limits of resources; they can be lowered afterwards, never raised."""
    set_limits(birth.limits)


def enter_plugin(birth: Birth) -> None:
    """Make the plugin's folder the working directory and the first place to import from.

    The template must not: it runs nothing of a plugin, and the folder may be shown in private files that are replaced.
    """
    if birth.root:
        chdir(birth.root)
        sys.path.insert(0, birth.root)
    if birth.debug:
        logging.getLogger().setLevel(logging.DEBUG)


STEPS: Final[tuple[Callable[[Birth], None], ...]] = (
    start_session,
    place_descriptors,
    limit,
    enter_plugin,
)
"""What a forked child goes through, in this order, before it runs any code of the plugin."""


def prepare_birth(root: str, serve: Serve) -> Birth:
    """Do, before any fork, what all workers of a plugin have in common.

    Args:
        root: The plugin's folder; empty where there is none.
        serve: Answers one invocation.

    Raises:
        OSError: The folder is not there.
    """
    look_like_worker(root)
    tempfile.tempdir = None
    os.chdir("/")
    provide_sdk()
    if root:
        os.stat(root)
        find_plugin_modules(root)
        find_folders(root)
    channel = Channel()
    register_at_fork(after_in_child=channel.abandon)
    start_logging(channel, logging.INFO)
    return Birth(root=root, loader=Loader(root), channel=channel, serve=serve)


def look_like_worker(root: str) -> None:
    """Have this process show modules that are imported what a worker would.

    Args:
        root: The plugin's folder; empty where there is none.
    """
    os.environ["HOME"] = os.environ["TMPDIR"] = TEMPORARY
    sys.argv[:] = [os.path.join(root or "/", "main.py")]
    sys.dont_write_bytecode = True


def become_worker(birth: Birth) -> int:
    """Go through the steps, then serve one invocation.

    Returns:
        The exit status: 0, EXIT_OUT_OF_TIME, or EXIT_INTERNAL.
    """
    finished = True
    try:
        _take_steps(birth)
        finished = birth.serve(birth.channel, birth.loader, birth.sources)
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
    return _final_status(birth, finished=finished)


def _final_status(birth: Birth, *, finished: bool = True) -> int:
    """Return whether all was done, unless it ended because the supervisor could not be understood."""
    violation = birth.channel.violation
    if violation is None:
        return 0 if finished else EXIT_OUT_OF_TIME
    write_error(f"worker: the supervisor broke the protocol: {violation}\n")
    return EXIT_INTERNAL


def _take_steps(birth: Birth) -> None:
    for step in STEPS:
        try:
            step(birth)
        except Exception as error:
            raise SetUpError(f"step {step.__name__}: {describe_error(error)}") from error


def _report_failure(birth: Birth, error: BaseException) -> None:
    """Tell the supervisor that we failed; where even that fails, whoever reads descriptor 2."""
    try:
        if not birth.channel.ours:
            birth.channel.open(birth.pipes[0], birth.pipes[1])
        message = clip(f"worker: {error}", MAX_ERROR_TEXT)
        birth.channel.send(Error(code="internal", message=message, traceback=format_error(error)))
    except BaseException as second:  # noqa: BLE001
        write_error(f"worker: {describe_error(error)}; reporting it failed: {describe_error(second)}\n")

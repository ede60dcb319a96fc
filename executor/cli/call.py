"""`executor call`: run one endpoint without a server."""

from __future__ import annotations

import contextlib
import os
import sys
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from executor.authoring.project import LOCAL_SETTINGS, Options, Project
from executor.cli.questions import (
    ConfigFile,
    ConfiguredHook,
    Environment,
    Fixtures,
    GivenLimits,
    Settings,
    SettingsFile,
    StateDir,
    author_state_dir,
    open_or_ask,
)
from executor.cli.telling import fail
from executor.config.overrides import Overrides
from executor.config.places import ConfigError
from executor.errors import ExecutorError
from executor.outcome import Outcome

if TYPE_CHECKING:  # loaded when a call is made; `--help` needs none of it
    from executor.authoring.caller import Called
    from executor.authoring.printing import Printer
    from executor.authoring.request import Request
    from executor.figures.figures import Figures
    from executor.supervisor.output import LogRecord

__all__ = ["call", "exit_status", "register"]

EXAMPLES = f"""
Examples:

  executor call my_plugin GET /hello/Ada                     the answer's body goes to standard output

  executor call my_plugin GET '/hello/Ada?loud=yes' -i       ... with its head

  executor call my_plugin POST /webhook --json '{{"event": "opened"}}' --set token=s3cret

  executor call my_plugin PUT /a -d @a.pdf -o out --timing   bodies of any size, streamed

  executor call my_plugin GET /a --limit memory=64MiB -v     what was used of every limit

The endpoint runs in a sandboxed worker process, under its limits, exactly as `executor serve` would run it; there is
only no server. What it prints and logs, its exceptions, and what went wrong go to standard error.

Values of settings come from {LOCAL_SETTINGS} in the folder, from --settings-file, and from --set; on a terminal,
those that are missing are asked for.

Ends with 0 when the endpoint answered, whatever the status (22 with --fail for 400 and above); 1 when the plugin cannot
be run or has no such endpoint; 2 when the command line is wrong; 3 when the endpoint failed; 4 when it met a limit; 5
when the worker crashed; 6 when there was no worker; 130 when it was interrupted.
"""

USAGE: Final = 2
ENDPOINT_FAILED: Final = 3
LIMIT_MET: Final = 4
WORKER_CRASHED: Final = 5
NO_WORKER: Final = 6
HTTP_ERROR: Final = 22
"""As of `curl --fail`."""
INTERRUPTED: Final = 130


def register(app: typer.Typer, about: str) -> None:
    """Add the command to the program."""
    app.command("call", help=about, epilog=EXAMPLES)(call)


def call(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The plugin's folder.", show_default=False)],
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Such as GET or POST.", show_default=False)],
    path: Annotated[
        str,
        typer.Argument(metavar="PATH", help="From the slash on, with or without a query.", show_default=False),
    ],
    *,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME: VALUE", help="A header; may be repeated.")
    ] = None,
    query: Annotated[
        list[str] | None,
        typer.Option("--query", "-q", metavar="NAME=VALUE", help="Added to the query, encoded; may be repeated."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", metavar="TEXT|@FILE|-", help="The body: a text, a file, or standard input."),
    ] = None,
    json: Annotated[
        str | None, typer.Option("--json", metavar="TEXT|@FILE|-", help="Like --data, with the headers of JSON.")
    ] = None,
    settings: Settings = None,
    settings_file: SettingsFile = None,
    limit: GivenLimits = None,
    config: ConfigFile = None,
    fixtures: Fixtures = None,
    environment: Environment = None,
    state_dir: StateDir = None,
    hook: ConfiguredHook = "",
    include: Annotated[bool, typer.Option("--include", "-i", help="Show the head of the answer, too.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the answer to a file.")
    ] = None,
    fail_on_error: Annotated[
        bool, typer.Option("--fail", "-f", help="End with 22 when the status is 400 or above.")
    ] = False,
    timing: Annotated[bool, typer.Option("--timing", help="Tell how long what took.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell what was used of every limit.")] = False,
) -> None:
    """Call an endpoint once, and end."""
    options = Options(
        folder=folder,
        config_file=config,
        hook_id=hook,
        environment=environment,
        settings=tuple(settings or ()),
        settings_file=settings_file,
        limits=tuple(limit or ()),
        fixtures=fixtures,
        overrides=Overrides(state_dir=author_state_dir(state_dir)),
    )
    request = _read_request(method, path, header or [], query or [], (data, json))
    project = open_or_ask(options, may_ask="-" not in {data, json} and "@-" not in {data, json})
    printer = _make_printer(project, folder)
    _find_endpoint(project, request)
    answer = _Answer(printer, _open_output(output), include=include)
    called = _call(project, request, answer, printer)
    _report(called, project, printer, answer.traceback, timing=timing, verbose=verbose)
    if called.figures is None:
        raise typer.Exit(NO_WORKER)
    status = exit_status(called.figures.outcome)
    if not status and fail_on_error and called.status >= HTTPStatus.BAD_REQUEST:
        status = HTTP_ERROR
    raise typer.Exit(status)


def exit_status(outcome: Outcome) -> int:
    """Tell how the command ends after an invocation."""
    if outcome in {Outcome.OK, Outcome.ENDPOINT_REJECTED}:
        return 0
    if outcome in {Outcome.WORKER_CRASHED, Outcome.WORKER_PROTOCOL}:
        return WORKER_CRASHED
    kind = outcome.code.partition(".")[0]
    return {"endpoint": ENDPOINT_FAILED, "limit": LIMIT_MET, "timeout": LIMIT_MET, "client": LIMIT_MET}.get(
        kind, NO_WORKER
    )


def _read_request(
    method: str, path: str, headers: list[str], query: list[str], bodies: tuple[str | None, str | None]
) -> Request:
    from executor.authoring.request import FORM, RequestError, build_request, read_body

    data, json = bodies
    if data is not None and json is not None:
        fail("--data and --json are two bodies; give one of them", status=USAGE)
    text = json if json is not None else data
    content_type = FORM
    if json is not None:
        content_type = "application/json"
        headers = ["Accept: application/json", *headers]
    try:
        body = read_body(text) if text is not None else None
        return build_request(method, path, headers=headers, query=query, body=body, content_type=content_type)
    except RequestError as error:
        fail(str(error), status=USAGE)


def _find_endpoint(project: Project, request: Request) -> None:
    """End the command with an explanation when no endpoint serves the request."""
    from executor.authoring.request import RequestError, check_request
    from executor.authoring.routes import explain_failure

    try:
        check_request(request, project.config.http)
    except RequestError as error:
        fail(str(error))
    lines = explain_failure(project.hook.router, project.plugin.endpoints, request.method, request.path)
    if lines:
        fail("\n".join(lines))


def _make_printer(project: Project, folder: Path) -> Printer:
    from rich.console import Console

    from executor.authoring.printing import Printer

    root = project.plugin.root
    printer = Printer(Console(stderr=True), folder, lambda file: root if file.startswith(f"{root}/") else None)
    for warning in project.warnings:
        printer.line(("warning: ", "yellow"), warning)
    if project.config.isolation.off:
        printer.line(("warning: ", "yellow"), f"isolation is off: {', '.join(project.config.isolation.off)}")
    return printer


def _open_output(file: Path | None) -> int:
    """Open what the answer goes to; the descriptor."""
    try:
        return 1 if file is None else os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    except OSError as error:
        fail(f"the answer cannot be written to {file}: {(error.strerror or str(error)).lower()}")


class _Answer:
    """Writes an answer to standard output or a file.

    Args:
        printer: For what the endpoint prints.
        descriptor: Where the answer goes.
        include: Whether the head is written, too.
    """

    def __init__(self, printer: Printer, descriptor: int, *, include: bool) -> None:
        self._printer = printer
        self._include = include
        self._descriptor = descriptor
        self._on_terminal = os.isatty(self._descriptor)
        self._line_open = False
        self.traceback = ""

    def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Write the head, if it is wanted."""
        if self._include:
            with contextlib.suppress(ValueError):
                phrase = HTTPStatus(status).phrase
                self._put(f"HTTP/1.1 {status} {phrase}\r\n".encode())
            self._put(b"".join(b"%s: %s\r\n" % header for header in headers) + b"\r\n")

    def write(self, data: bytes) -> None:
        """Write a piece of the body, at once."""
        if self._on_terminal and b"\0" in data:
            raise _BinaryError
        self._put(data)

    def log(self, record: LogRecord) -> None:
        """Print what the endpoint printed, on a line of its own; keep its traceback for later."""
        if record.source == "traceback":
            self.traceback = record.message
            return
        self.end_line()
        self._printer.output(record.level, record.source, record.message)

    def end_line(self) -> None:
        """Begin a new line, where a terminal shows both the answer and what is said about it."""
        if self._line_open and self._on_terminal and sys.stderr.isatty():
            os.write(2, b"\n")
            self._line_open = False

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._line_open = not data.endswith(b"\n")


class _BinaryError(OSError):
    """The answer is not text, and would be written to a terminal."""

    def __str__(self) -> str:
        return "the answer is binary, which a terminal takes for commands; write it to a file with -o FILE"


def _call(project: Project, request: Request, answer: _Answer, printer: Printer) -> Called:
    from executor.authoring.caller import call_endpoint
    from executor.figures.log import configure_logging
    from executor.isolation.state import with_remedy

    configure_logging(level="error")
    try:
        called = call_endpoint(project, request, answer, lambda line: printer.line((f"  {line}", "dim")))
    except BrokenPipeError:
        raise typer.Exit(1) from None  # whoever reads has seen enough
    except OSError as error:
        fail(f"the call was broken off: {error}")
    except ConfigError as error:
        fail("\n".join(str(problem) for problem in error.problems))
    except ExecutorError as error:
        fail(with_remedy(str(error)), status=error.exit_status)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    finally:
        answer.end_line()
    return called


def _report(called: Called, project: Project, printer: Printer, traceback: str, *, timing: bool, verbose: bool) -> None:
    """Say what went wrong, and what was asked for."""
    from executor.authoring.usage import near_limits, show_use, uses_of

    figures = called.figures
    if figures is None:
        return
    if figures.outcome is not Outcome.OK:
        _report_failure(figures, printer, traceback)
    if timing or verbose:
        printer.line(_describe_times(called, figures))
    if verbose:
        printer.limits(uses_of(figures, project.hook.limits))
        return
    for use in near_limits(figures, project.hook.limits):
        printer.line("  near its limit: ", (show_use(use), "yellow"))


def _report_failure(figures: Figures, printer: Printer, traceback: str) -> None:
    outcome = figures.outcome
    detail = f": {figures.detail}" if figures.detail and not traceback else ""
    cut = f"; the answer ends after {figures.bytes_out} bytes" if figures.first_byte_s is not None else ""
    printer.line(
        (outcome.code, "yellow" if outcome is Outcome.ENDPOINT_REJECTED else "bold red"),
        f": {outcome.title}{cut}{detail}",
    )
    if traceback:
        printer.traceback(traceback)


def _describe_times(called: Called, figures: Figures) -> str:
    from executor.authoring.usage import show_amount

    steps = (
        ("start", called.start_s),
        ("worker", figures.ready_s),
        ("first byte", figures.first_byte_s),
        ("total", figures.duration_s),
        ("cpu", figures.cpu_user_s + figures.cpu_system_s),
    )
    times = [f"{name} {show_amount('wall_time', seconds)}" for name, seconds in steps if seconds is not None]
    return f"{called.status}, {figures.bytes_out} bytes: {', '.join(times)}"

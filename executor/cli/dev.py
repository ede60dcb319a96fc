"""`executor dev`: serve a plugin while it is being written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from executor.authoring.project import LOCAL_SETTINGS, MissingSettingsError, Options, open_project
from executor.cli.questions import (
    ConfigFile,
    ConfiguredHook,
    Environment,
    Fixtures,
    GivenLimits,
    Settings,
    SettingsFile,
    StateDir,
    answer_missing,
    author_state_dir,
)
from executor.cli.telling import fail
from executor.config.overrides import GivenValue, Overrides
from executor.config.places import ConfigError, Place
from executor.errors import ExecutorError

if TYPE_CHECKING:  # loaded when it serves; `--help` needs none of it
    from executor.authoring.printing import Printer
    from executor.authoring.snapshots import Snapshots
    from executor.service import Addresses

__all__ = ["dev", "register"]

EXAMPLES = f"""
Examples:

  executor dev my_plugin                         serve it, and follow every change

  executor dev my_plugin --set token=s3cret      ... with a value for a setting

  executor dev my_plugin --limit memory=64MiB --port 9000

Every change of a file, YAML or Python, is served at once. While something is wrong, what was good before is still
served, and the mistakes are told with file and line. Requests wait for a change that was just made.

For each request a line tells what it was, how it ended, how long it took, what it used of its limits, and which of
them it came near; exceptions are shown with the plugin's own lines first. Workers are sandboxed as under `executor
serve`. Answers tell exceptions to clients (debug); do not serve others with it.

Values of settings come from {LOCAL_SETTINGS} in the folder, from --settings-file, and from --set; on a terminal,
those that are missing are asked for.
"""

GRACE: Final = "1s"
"""For requests that run when it is ended: whoever presses Ctrl-C wants an end."""


def register(app: typer.Typer, about: str) -> None:
    """Add the command to the program."""
    app.command("dev", help=about, epilog=EXAMPLES)(dev)


def dev(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The plugin's folder.", show_default=False)],
    *,
    host: Annotated[str | None, typer.Option(metavar="HOST", help="Address to listen on. (default: 127.0.0.1)")] = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="Port; 0 picks a free one. (default: 8080)")] = None,
    admin_port: Annotated[
        int | None, typer.Option(metavar="PORT", help="Port of metrics and workers. (default: the port after --port)")
    ] = None,
    settings: Settings = None,
    settings_file: SettingsFile = None,
    limit: GivenLimits = None,
    config: ConfigFile = None,
    fixtures: Fixtures = None,
    environment: Environment = None,
    hook: ConfiguredHook = "",
    state_dir: StateDir = None,
    ready_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the addresses to this file (JSON) when it listens.")
    ] = None,
) -> None:
    """Serve a plugin and follow its changes, until a signal ends it."""
    if not folder.is_dir():
        fail(f"{folder} is no folder; `executor init {folder}` begins a plugin there")
    options = Options(
        folder=folder,
        config_file=config,
        hook_id=hook,
        environment=environment,
        settings=tuple(settings or ()),
        settings_file=settings_file,
        limits=tuple(limit or ()),
        fixtures=fixtures,
        overrides=Overrides(
            host=host,
            port=port,
            admin_port=admin_port,
            state_dir=author_state_dir(state_dir),
            debug=True,
            values=(GivenValue(("drain", "grace_time"), GRACE, Place(origin="executor dev")),),
        ),
    )
    _serve(_ask(options), ready_file)


def _ask(options: Options) -> Options:
    """Ask for what is missing; anything else that is wrong is told later, and waited for."""
    try:
        open_project(options)
    except MissingSettingsError as error:
        return answer_missing(options, error) or options
    except ConfigError:
        pass
    return options


def _serve(options: Options, ready_file: Path | None) -> None:
    from executor.authoring.dev_server import run_dev_server

    def tell_ready(addresses: Addresses) -> None:
        if ready_file is not None:
            from executor.run import write_addresses

            write_addresses(ready_file, addresses)

    try:
        run_dev_server(
            options,
            make_printer=lambda snapshots: _make_printer(options, snapshots),
            on_ready=tell_ready,
        )
    except ConfigError as error:
        fail("\n".join(str(problem) for problem in error.problems))
    except ExecutorError as error:
        fail(str(error), status=error.exit_status)


def _make_printer(options: Options, snapshots: Snapshots) -> Printer:
    from rich.console import Console

    from executor.authoring.printing import Printer

    return Printer(Console(file=sys.stderr), options.folder, snapshots.find_root)

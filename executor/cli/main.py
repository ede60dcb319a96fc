"""The command `executor`.

Every command is a module of this package, with a function `register(app, about)` that adds it. Exit statuses are the
same everywhere: 0 for success, 1 when what was asked for is not so, 2 for a command line that is not understood. `call`
has some more, for how the invocation ended.
"""

from __future__ import annotations

from typing import Annotated

import typer

from executor.cli.commands import CommandGroup
from executor.cli.examples import lay_out
from executor.version import __version__

__all__ = ["create_app", "main"]

EPILOG = """
Examples:

  executor init my_plugin       begin a new plugin

  executor dev my_plugin        serve it while you write it: every change is served at once

  executor call my_plugin GET /hello/Ada    run one endpoint, without a server

  executor check my_plugin      find every mistake in a plugin's declarations

  executor serve my_plugin      serve its endpoints below http://127.0.0.1:8080/e/

  executor plugin install cat.difypkg && executor hook create cat && executor serve

  executor ps                   see what the live workers are doing
"""


def main() -> None:
    """Run the command with the arguments of this process, and end the process."""
    create_app()()


def create_app() -> typer.Typer:
    """Make the program, with all commands."""
    app = typer.Typer(
        name="executor",
        cls=CommandGroup,
        help="Run Dify plugin endpoints, one short-lived worker process per HTTP request.",
        epilog=lay_out(EPILOG),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_read_options)
    return app


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - called by typer
    if wanted:
        typer.echo(f"executor {__version__}")
        raise typer.Exit


def _read_options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before the command."""

"""`executor function`: list and remove what a Dify daemon has launched here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from executor.cli.desk import put_in_force
from executor.cli.opening import ConfigFile, StateDir, read_sections
from executor.cli.showing import Format, cell, show_document
from executor.cli.tables import Column, draw_table
from executor.cli.telling import fail, tell_errors
from executor.cli.times import show_time

if TYPE_CHECKING:
    from rich.console import RenderableType

    from executor.serverless.desk import ListedFunction

__all__ = ["list_functions", "register", "remove"]

LIST_EXAMPLES = """
Examples:

  executor function list

  executor function list --format json | jq -r '.functions[] | select(.used_at < now - 7776000).identifier'

A function is a version of a plugin that a Dify daemon has launched here: see the section `serverless` of the
configuration. USED tells when it was launched or called last. Metrics, log and `executor ps` name it as in FUNCTION,
which is shown where a line has room for it. Its URL is a secret between Dify and the service, and is not shown.
"""
REMOVE_EXAMPLES = """
Examples:

  executor function remove tester/cat:0.0.1      one version

  executor function remove cat --all             every version of it

  executor function remove sri-cat-88b64b...     by the name that metrics and `executor ps` show

Dify does not tell when a plugin is uninstalled, so functions stay until they are removed here, or until nobody has
called them for `serverless.keep_time`. Calls that run go on to their end; later ones get an error, until the plugin is
installed again in Dify.
"""

COLUMNS: Final = (
    Column("PLUGIN", text=True, folds=True),
    Column("VERSION", text=True),
    Column("CHECKSUM", text=True),
    Column("LAUNCHED", text=True, needs=100),
    Column("USED", text=True),
    Column("FUNCTION", text=True, folds=True, needs=140),
)
SHORT_CHECKSUM: Final = 12


def register(app: typer.Typer, about: str) -> None:
    """Add the commands to the program."""
    group = typer.Typer(name="function", no_args_is_help=True, help=about)
    add = group.command
    add("list", help="List the functions that a Dify daemon may call.", epilog=LIST_EXAMPLES)(list_functions)
    add("remove", help="Remove functions, with their files.", epilog=REMOVE_EXAMPLES)(remove)
    app.add_typer(group)


def list_functions(*, config: ConfigFile = None, state_dir: StateDir = None, output: Format = "table") -> None:
    """List functions."""
    from executor.serverless.desk import FunctionDesk

    with tell_errors():
        listed = FunctionDesk(read_sections(config, state_dir).state_dir).list()
    documents = [_describe(one) for one in listed]
    show_document({"functions": documents}, output, lambda width: _draw_list(documents, width))


def remove(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="cat, tester/cat, tester/cat:0.0.1, or sri-....", show_default=False),
    ],
    *,
    every: Annotated[bool, typer.Option("--all", help="All versions that a name may mean.")] = False,
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> None:
    """Remove functions."""
    from executor.config.instance import find_instances
    from executor.serverless.desk import FunctionDesk, find_functions

    with tell_errors():
        folder = read_sections(config, state_dir).state_dir
        desk = FunctionDesk(folder)
        functions = [one.function for one in desk.list()]
        chosen = []
        for name in names:
            found = find_functions(name, functions)
            if len(found) > 1 and not every:
                fail(f"{name} may be {' or '.join(one.identifier for one in found)}; name one of them, or give --all")
            chosen += [one for one in found if one not in chosen]
        for function in chosen:
            desk.remove(function)
            typer.echo(f"removed {function.identifier}")
        put_in_force(folder, (), lambda: None)
        if not find_instances(folder):
            desk.sweep()
    print("Dify still has their URLs; calls get an error until the plugin is installed again there", file=sys.stderr)


def _describe(listed: ListedFunction) -> dict[str, Any]:
    """Describe a function as plain data, without its token."""
    function = listed.function
    return {
        "name": function.name,
        "identifier": function.identifier,
        "author": function.author,
        "plugin": function.plugin,
        "version": function.version,
        "checksum": function.checksum,
        "environment": function.environment or None,
        "launched_at": function.launched_at,
        "used_at": listed.used_at,
    }


def _draw_list(functions: Sequence[dict[str, Any]], width: int) -> RenderableType:
    if not functions:
        return cell("there is no function; a Dify daemon with PLATFORM=serverless launches them", "dim")
    rows = [
        (
            cell(f"{one['author']}/{one['plugin']}", "cyan"),
            cell(one["version"]),
            cell(one["checksum"][:SHORT_CHECKSUM], "dim"),
            cell(show_time(one["launched_at"])),
            cell(show_time(one["used_at"])),
            cell(one["name"]),
        )
        for one in functions
    ]
    return draw_table(COLUMNS, rows, width)

"""`executor config`: show, check and document the configuration."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from executor.config.load import load_config
from executor.config.overrides import Overrides
from executor.config.places import ConfigError, Problem
from executor.config.reference import render_reference, render_schema
from executor.config.show import show_config

__all__ = ["check", "reference", "register", "schema", "show"]

SHOW_EXAMPLES = """
Examples:

  executor config show > executor.yaml                  begin a new configuration file

  executor config show --config executor.yaml           what holds, and where each value was given

  executor config show --config executor.yaml | grep -v -e '# default' -e '^ *#'

What is printed can be used as a configuration file. Values of hooks' settings that stand in the file are left out,
for they may be secret; references to variables and files are kept.
"""
CHECK_EXAMPLES = """
Examples:

  executor config check executor.yaml

  executor config check executor.yaml --format json | jq -r '.[] | [.line, .message] | @tsv'

Ends with 0 when the file can be used, with 1 otherwise. Plugins are not looked at: `executor check` does that.
"""
SCHEMA_EXAMPLES = """
Example:

  executor config schema > executor.schema.json

With this first line in the configuration, editors complete and check it:

  # yaml-language-server: $schema=executor.schema.json
"""

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The YAML file; without it, the defaults.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="HOOK.NAME=VALUE", help="A value for a setting of a hook; may be repeated."),
]
Format = Annotated[Literal["text", "json"], typer.Option("--format", help="How problems are written.")]


def register(app: typer.Typer, about: str) -> None:
    """Add the commands to the program."""
    group = typer.Typer(name="config", no_args_is_help=True, help=about)
    add = group.command
    add("show", help="Print the effective configuration as YAML, with comments.", epilog=SHOW_EXAMPLES)(show)
    add("check", help="Check a file: every problem at once, with line and column.", epilog=CHECK_EXAMPLES)(check)
    add("schema", help="Print the JSON Schema of configuration files.", epilog=SCHEMA_EXAMPLES)(schema)
    add("reference", help="Print the documentation of all settings, docs/settings.md.")(reference)
    app.add_typer(group)


def show(*, config: ConfigFile = None, settings: Settings = None) -> None:
    """Print the effective configuration."""
    try:
        loaded = load_config(config, Overrides(settings=tuple(settings or ())))
    except ConfigError as error:
        _print_problems(error.problems)
        raise typer.Exit(1) from None
    _print_problems(loaded.notes)
    typer.echo(show_config(loaded), nl=False)


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML file.", show_default=False)],
    *,
    output: Format = "text",
) -> None:
    """Load the file and tell what is wrong with it."""
    problems, usable = _check(file)
    if output == "json":
        typer.echo(json.dumps([_as_dict(problem) for problem in problems], indent=2))
    else:
        _print_problems(problems)
        if usable:
            typer.echo(f"{file}: can be used")
    if not usable:
        raise typer.Exit(1)


def schema() -> None:
    """Print the JSON Schema."""
    typer.echo(json.dumps(render_schema(), indent=2))


def reference() -> None:
    """Print `docs/settings.md`."""
    typer.echo(render_reference(), nl=False)


def _check(file: Path) -> tuple[tuple[Problem, ...], bool]:
    try:
        return load_config(file).notes, True
    except ConfigError as error:
        return error.problems, False


def _print_problems(problems: tuple[Problem, ...]) -> None:
    for problem in problems:
        print(f"{problem.severity}: {problem}", file=sys.stderr)


def _as_dict(problem: Problem) -> dict[str, object]:
    place = problem.place
    return asdict(problem) | {
        "place": str(place),
        "file": None if place.file is None else str(place.file),
        "line": place.line,
        "column": place.column,
    }

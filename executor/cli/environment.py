"""`executor environment`: list, build and remove the environments of plugins."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from executor.cli.opening import ConfigFile, StateDir, read_sections
from executor.cli.showing import cell, human_bytes, human_seconds, open_console
from executor.cli.tables import Column, draw_table
from executor.cli.telling import fail, tell_errors
from executor.errors import number_of

if TYPE_CHECKING:
    from executor.environments.builder import EnvironmentBuilder
    from executor.environments.shelf import Shelf

__all__ = ["build", "collect", "list_environments", "register"]

LIST_EXAMPLES = """
Examples:

  executor environment list                    the environments in the state directory

Environments are shared: plugins that depend on the same packages have the same one. USED tells when a plugin was last
served from it; `now` is one that an executor is using.
"""
BUILD_EXAMPLES = """
Examples:

  executor environment build ./my_plugin       ... from its pyproject.toml and uv.lock, or its requirements.txt

  executor environment build ./my_plugin --config executor.yaml

`executor serve` and `executor plugin install` do this by themselves. The build runs in a sandbox that reaches nothing
but the package index; the last line printed is the folder of the environment.
"""
COLLECT_EXAMPLES = """
Examples:

  executor environment gc                      remove what nobody has used for environments.keep_time

  executor environment gc --all                remove everything that nobody is using now
"""
COLUMNS: Final = (
    Column("DIGEST", text=True),
    Column("PYTHON", text=True),
    Column("PACKAGES"),
    Column("SIZE"),
    Column("USED"),
    Column("BUILD", needs=90),
    Column("FOR", text=True, folds=True, needs=80),
)
SHORT: Final = 12


def register(app: typer.Typer, about: str) -> None:
    """Add the commands to the program."""
    group = typer.Typer(name="environment", no_args_is_help=True, help=about)
    add = group.command
    add("list", help="List the environments that were built.", epilog=LIST_EXAMPLES)(list_environments)
    add("build", help="Build the environment of a plugin's folder.", epilog=BUILD_EXAMPLES)(build)
    add("gc", help="Remove environments that nobody uses.", epilog=COLLECT_EXAMPLES)(collect)
    app.add_typer(group)


def list_environments(*, config: ConfigFile = None, state_dir: StateDir = None) -> None:
    """List them."""
    from executor.environments.shelf import Shelf

    with tell_errors():
        shelf = Shelf(read_sections(config, state_dir).state_dir / "environments")
    now = time.time()
    rows = [
        [
            cell(record.digest[:SHORT], "cyan"),
            cell(record.python),
            cell(len(record.packages)),
            human_bytes(record.size),
            _last_use(shelf, record.digest, now),
            human_seconds(record.seconds),
            cell(Path(record.plugin).name),
        ]
        for record in shelf.records()
    ]
    console = open_console()
    console.print(draw_table(COLUMNS, rows, console.width))


def _last_use(shelf: Shelf, digest: str, now: float) -> Text:
    if shelf.is_used(digest):
        return cell("now", "green")
    return human_seconds(max(0.0, now - shelf.last_use(digest))) + Text(" ago")


def build(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The plugin's folder.", show_default=False)],
    *,
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> None:
    """Build one."""
    from executor.catalog.digest import compute_digest
    from executor.environments.errors import BuildError

    if not folder.is_dir():
        fail(f"{folder} is not a folder; expected one with a plugin's pyproject.toml or requirements.txt")
    with _builder(config, state_dir) as builder:
        try:
            root = folder.resolve()
            environment = builder.build(root, compute_digest(root), lambda line: typer.echo(line, err=True))
        except BuildError as error:
            fail(str(error))
    typer.echo(str(environment.folder))


def collect(
    *,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what was used a moment ago.")] = False,
) -> None:
    """Remove them."""
    with _builder(config, state_dir) as builder:
        removed = builder.collect(0.0 if everything else None)
    for path in removed:
        typer.echo(f"removed {path}")
    typer.echo(f"{number_of(len(removed), 'environment')} removed")


@contextmanager
def _builder(config: Path | None, state_dir: Path | None) -> Iterator[EnvironmentBuilder]:
    """Have a builder as the service would have."""
    from executor.config.instance import make_state_dir
    from executor.environments.builder import EnvironmentBuilder
    from executor.isolation.host import HostIsolation

    with tell_errors():
        loaded = read_sections(config, state_dir)
    try:
        make_state_dir(loaded.state_dir)
    except OSError as error:
        fail(f"the state directory {loaded.state_dir} cannot be used: {error}; choose another with --state-dir")
    host = HostIsolation(loaded.isolation)
    try:
        with EnvironmentBuilder(loaded.state_dir, loaded.environments, host) as builder:
            yield builder
    finally:
        host.close()

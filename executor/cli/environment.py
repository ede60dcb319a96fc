"""`executor environment`: list, build and remove the environments of plugins."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from executor.cli.opening import ConfigFile, StateDir, read_sections
from executor.cli.showing import Format, cell, human_bytes, human_seconds, show_document
from executor.cli.tables import Column, draw_table
from executor.cli.telling import fail, tell_errors
from executor.errors import number_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from executor.environments.builder import EnvironmentBuilder
    from executor.environments.shelf import Record, Shelf

__all__ = ["build", "collect", "list_environments", "register"]

LIST_EXAMPLES = """
Examples:

  executor environment list                    the environments in the state directory

  executor environment list --format json | jq '.environments[].packages'

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


def list_environments(*, config: ConfigFile = None, state_dir: StateDir = None, output: Format = "table") -> None:
    """List them."""
    from executor.environments.shelf import Shelf

    with tell_errors():
        shelf = Shelf(read_sections(config, state_dir).state_dir / "environments")
        documents = [_describe(shelf, record) for record in shelf.records()]
    show_document({"environments": documents}, output, lambda width: _draw_list(documents, width))


def _describe(shelf: Shelf, record: Record) -> dict[str, Any]:
    """Describe an environment as plain data."""
    return {
        "digest": record.digest,
        "folder": str(shelf.venv(record.digest)),
        "python": record.python,
        "packages": [*record.packages],
        "size": record.size,
        "files": record.files,
        "built_at": record.built_at,
        "build_s": record.seconds,
        "built_for": record.plugin,
        "in_use": shelf.is_used(record.digest),
        "used_at": shelf.last_use(record.digest) or None,
    }


def _draw_list(environments: Sequence[dict[str, Any]], width: int) -> RenderableType:
    if not environments:
        return cell("there is no environment; `executor plugin install` and `executor serve` build them", "dim")
    now = time.time()
    rows = [
        [
            cell(one["digest"][:SHORT], "cyan"),
            cell(one["python"]),
            cell(len(one["packages"])),
            human_bytes(one["size"]),
            _last_use(one, now),
            human_seconds(one["build_s"]),
            cell(Path(one["built_for"]).name),
        ]
        for one in environments
    ]
    return draw_table(COLUMNS, rows, width)


def _last_use(environment: dict[str, Any], now: float) -> Text:
    if environment["in_use"]:
        return cell("now", "green")
    if environment["used_at"] is None:
        return cell("never")
    return human_seconds(max(0.0, now - environment["used_at"])) + Text(" ago")


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

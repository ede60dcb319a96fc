"""`executor store`: what is in the store, and a backup of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from executor.cli.asking import human_bytes
from executor.cli.opening import ConfigFile, StateDir, opened_store

__all__ = ["backup", "register", "show"]

BACKUP_EXAMPLES = """
Examples:

  executor store backup /backups/executor.db        a copy of the SQLite database, while the service runs

  executor store backup FILE && cp STATE_DIR/secrets.key /elsewhere/    ... and what its secrets are read with

To restore, stop the service, and put the file in place of STATE_DIR/executor.db; remove executor.db-wal and
executor.db-shm. A PostgreSQL database is copied with pg_dump.
"""


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    group = typer.Typer(name="store", no_args_is_help=True, help="The database of plugins, hooks and plugin storage.")
    group.command("show", help="Tell where the store is, and how much is in it.")(show)
    group.command("backup", help="Copy a SQLite store into a new file.", epilog=BACKUP_EXAMPLES)(backup)
    app.add_typer(group)


def show(
    *,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    output: Annotated[Literal["text", "json"], typer.Option("--format", help="How it is written.")] = "text",
) -> None:
    """Open the store and count."""
    with opened_store(config, state_dir) as (store, _):
        summary = store.summary()
    if output == "json":
        typer.echo(json.dumps({"store": store.shown, "kind": store.kind, **asdict(summary)}, indent=2))
        return
    typer.echo(f"store:    {store.shown} ({store.kind}, tables of revision {summary.revision})")
    typer.echo(f"plugins:  {summary.plugins} versions")
    typer.echo(f"hooks:    {summary.hooks}, {summary.enabled} of them enabled; {summary.secrets} secrets")
    used = human_bytes(summary.used_bytes)
    typer.echo(f"storage:  {summary.keys} values in {summary.scopes} scopes, {used.plain}")


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file.", show_default=False)],
    *,
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> None:
    """Copy the database."""
    with opened_store(config, state_dir) as (store, _):
        store.backup(file)
        summary = store.summary()
    typer.echo(f"{file}: a copy of {store.shown}")
    if summary.secrets:
        typer.echo(f"its {summary.secrets} secrets can only be read with their key: keep a copy of that, elsewhere")

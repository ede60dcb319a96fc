"""`executor store`: what is in the store, and a backup of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from executor.cli.opening import ConfigFile, StateDir, opened_store
from executor.cli.showing import cell, human_bytes, open_console
from executor.cli.tables import Column, draw_table
from executor.cli.telling import confirm, fail
from executor.errors import number_of

__all__ = ["backup", "clear", "register", "show", "usage"]

BACKUP_EXAMPLES = """
Examples:

  executor store backup /backups/executor.db        a copy of the SQLite database, while the service runs

  executor store backup FILE && cp STATE_DIR/secrets.key /elsewhere/    ... and what its secrets are read with

To restore, stop the service, and put the file in place of STATE_DIR/executor.db; remove executor.db-wal and
executor.db-shm. A PostgreSQL database is copied with pg_dump.
"""

CLEAR_EXAMPLES = """
Examples:

  executor store clear author/name                     what all hooks of the plugin share

  executor store clear author/name --hook HOOK         what one hook has of its own

Values of a plugin stay when it is removed, so that they are there when it is installed again.
"""

COLUMNS: Final = (
    Column("PLUGIN", text=True, folds=True),
    Column("TENANT", text=True, folds=True),
    Column("HOOK", text=True, folds=True),
    Column("VALUES"),
    Column("SIZE"),
)


def register(app: typer.Typer, about: str) -> None:
    """Add the commands to the program."""
    group = typer.Typer(name="store", no_args_is_help=True, help=about)
    group.command("show", help="Tell where the store is, and how much is in it.")(show)
    group.command("backup", help="Copy a SQLite store into a new file.", epilog=BACKUP_EXAMPLES)(backup)
    group.command("usage", help="Tell what plugins have stored: how many values, and how large.")(usage)
    group.command("clear", help="Remove everything that a plugin has stored.", epilog=CLEAR_EXAMPLES)(clear)
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
    typer.echo(f"plugins:  {number_of(summary.plugins, 'version')}")
    typer.echo(f"hooks:    {summary.hooks}, {summary.enabled} of them enabled; {number_of(summary.secrets, 'secret')}")
    used = human_bytes(summary.used_bytes)
    where = f"{number_of(summary.keys, 'value')} in {number_of(summary.scopes, 'scope')}"
    typer.echo(f"storage:  {where}, {used.plain}")


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
        secrets = number_of(summary.secrets, "secret")
        typer.echo(f"it has {secrets} in it, unreadable without the key: keep a copy of the key, elsewhere")


def usage(
    *,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    output: Annotated[Literal["text", "json"], typer.Option("--format", help="How it is written.")] = "text",
) -> None:
    """List the scopes of plugin storage."""
    with opened_store(config, state_dir) as (store, _):
        scopes = store.storage.usage()
    if output == "json":
        rows = [{**asdict(one.scope), "keys": one.keys, "used_bytes": one.used_bytes} for one in scopes]
        typer.echo(json.dumps(rows, indent=2))
        return
    if not scopes:
        typer.echo("no plugin has stored anything")
        return
    lines = [
        (
            cell(one.scope.plugin_id),
            cell(one.scope.tenant_id),
            cell(one.scope.hook_id or "all"),
            cell(one.keys),
            human_bytes(one.used_bytes),
        )
        for one in scopes
    ]
    console = open_console()
    console.print(draw_table(COLUMNS, lines, console.width))


def clear(
    plugin: Annotated[str, typer.Argument(metavar="AUTHOR/NAME", help="The plugin.", show_default=False)],
    *,
    tenant: Annotated[
        str | None, typer.Option(metavar="TENANT", help="The tenant. (default: `reverse.tenant`)")
    ] = None,
    hook: Annotated[str | None, typer.Option(metavar="HOOK", help="The hook that has values of its own.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> None:
    """Remove all values of a scope."""
    from executor.store.storage import StorageScope

    with opened_store(config, state_dir) as (store, loaded):
        scope = StorageScope(tenant or loaded.reverse.tenant, plugin, hook)
        found = next((one for one in store.storage.usage() if one.scope == scope), None)
        if found is None:
            fail(f"{plugin} has nothing stored there; see `executor store usage`")
        if not yes:
            size = human_bytes(found.used_bytes).plain
            confirm(f"Remove {number_of(found.keys, 'value')} of {plugin}, {size}?")
        removed = store.storage.clear(scope)
    typer.echo(f"removed {number_of(removed, 'value')} of {plugin}")

"""The store for commands: opened as a configuration says; whatever is wrong ends the command with its sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from executor.config.model import Config
    from executor.store.store import Store

__all__ = ["ConfigFile", "StateDir", "opened_store"]

ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Configuration file (YAML).")]
StateDir = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="Folder for state. (default: in $XDG_STATE_HOME)")
]


@contextmanager
def opened_store(config: Path | None, state_dir: Path | None) -> Iterator[tuple[Store, Config]]:
    """Open the store that a configuration names.

    Raises:
        typer.Exit: It cannot be used, or the block has raised an error of ours; why was told.
    """
    from executor.config.load import load_config
    from executor.config.overrides import Overrides
    from executor.config.places import ConfigError
    from executor.errors import ExecutorError
    from executor.store.configured import open_configured_store

    try:
        loaded = load_config(config, Overrides(state_dir=state_dir))
        with open_configured_store(loaded) as store:
            yield store, loaded
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(f"{problem.severity}: {problem}", err=True)
        raise typer.Exit(1) from None
    except ExecutorError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_status) from None

"""The store for commands: opened as the service's configuration says; whatever is wrong ends the command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from executor.cli.telling import tell_errors

if TYPE_CHECKING:  # loaded when the store is opened; `--help` needs none of it
    from executor.config.model import Config
    from executor.store.store import Store

__all__ = ["ConfigFile", "StateDir", "opened_store", "read_sections"]

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The configuration file of the service (YAML), if it has one."),
]
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="The state folder of the service. (default: in $XDG_STATE_HOME)"),
]

SECTIONS: Final = ("state_dir", "store", "secrets", "packages", "environments", "isolation", "reverse")
"""What matters to commands beside a service. The rest may refer to variables that only the service has."""


@contextmanager
def opened_store(config_file: Path | None, state_dir: Path | None) -> Iterator[tuple[Store, Config]]:
    """Open the store that a configuration names.

    Yields:
        (store, config): the store, open; the sections of the configuration that matter.

    Raises:
        typer.Exit: It cannot be used, or the block has raised an error of ours; why was told.
    """
    from executor.store.configured import open_configured_store

    with tell_errors():
        config = read_sections(config_file, state_dir)
        with open_configured_store(config) as store:
            yield store, config


def read_sections(file: Path | None, state_dir: Path | None) -> Config:
    """Read what matters of a configuration; the other sections have their defaults.

    Raises:
        ConfigError: It cannot be used.
    """
    from executor.config.document import read_document
    from executor.config.load import parse_config
    from executor.config.overrides import Overrides
    from executor.config.places import Source

    source = read_document(file) if file is not None else Source()
    data = {name: value for name, value in source.data.items() if name in SECTIONS}
    return parse_config(
        Source(source.file, data, source.keys, source.values, source.problems), Overrides(state_dir=state_dir)
    )

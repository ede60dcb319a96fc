"""What `executor plugin` and `executor hook` have in common: a store that they change, services that they tell."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn

import typer
from rich.console import Console, RenderableType

from executor.cli.asking import printable_lines
from executor.config.document import read_document
from executor.config.load import parse_config
from executor.config.model import Config
from executor.config.overrides import Overrides
from executor.config.places import ConfigError, Source
from executor.errors import ExecutorError

if TYPE_CHECKING:
    from executor.installed.hooks import HookDesk
    from executor.installed.plugins import PluginDesk
    from executor.store.store import Store

__all__ = [
    "ConfigFile",
    "Desk",
    "Format",
    "StateDir",
    "fail",
    "open_desk",
    "put_in_force",
    "read_sections",
    "show_document",
    "tell_errors",
]

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The configuration file of the service (YAML), if it has one."),
]
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="The state folder of the service.  (default: in $XDG_STATE_HOME)"),
]
Format = Annotated[Literal["table", "json"], typer.Option("--format", help="How it is shown.")]

SECTIONS: Final = ("state_dir", "store", "secrets", "packages", "environments", "isolation")
"""What matters to these commands. The rest may refer to variables that only the service has."""

WIDE: Final = 250
"""Characters per line where no terminal sets a limit."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with.

    Attributes:
        config: The sections of the configuration that matter.
        store: Open.
        plugins: Installs and removes versions.
        hooks: Changes hooks.
    """

    config: Config
    store: Store
    plugins: PluginDesk
    hooks: HookDesk


@contextlib.contextmanager
def open_desk(config_file: Path | None, state_dir: Path | None) -> Iterator[Desk]:
    """Open the store; errors within are told, and end the command with status 1."""
    from executor.installed.catalog import InstalledCatalog, package_folders
    from executor.installed.hooks import HookDesk
    from executor.installed.plugins import PluginDesk
    from executor.store.configured import open_configured_store
    from executor.vault.keyring import key_source
    from executor.vault.vault import Vault

    with tell_errors():
        config = read_sections(config_file, state_dir)
        with open_configured_store(config) as store:
            vault = Vault(key_source(config.secrets.key, config.state_dir))
            hooks = HookDesk(store, InstalledCatalog(config.state_dir), vault)
            yield Desk(config, store, PluginDesk(store, package_folders(config)), hooks)


@contextlib.contextmanager
def tell_errors() -> Iterator[None]:
    """Have errors within told, a line each; they end the command with status 1."""
    try:
        yield
    except ConfigError as error:
        fail(*(str(problem) for problem in error.problems))
    except ExecutorError as error:
        fail(*str(error).splitlines(), status=error.exit_status)
    except OSError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted; nothing was changed", status=130)


def read_sections(file: Path | None, state_dir: Path | None) -> Config:
    """Read what matters of a configuration; the other sections have their defaults.

    Raises:
        ConfigError: It cannot be used.
    """
    source = read_document(file) if file is not None else Source()
    data = {name: value for name, value in source.data.items() if name in SECTIONS}
    return parse_config(
        Source(source.file, data, source.keys, source.values, source.problems), Overrides(state_dir=state_dir)
    )


def put_in_force(state_dir: Path, hook_ids: Collection[str], undo: Callable[[], None]) -> tuple[str, ...]:
    """Tell the running services, and take a change back when one of them cannot serve a hook that was changed.

    Args:
        state_dir: The state folder whose services are told.
        hook_ids: The hooks that it is about.
        undo: Takes the change back.

    Returns:
        Addresses of the services in which the change is in force.
    """
    from executor.installed.services import tell_services

    told = tell_services(state_dir)
    refused = [
        f"hook {hook_id}: {one.failed[hook_id]}" for one in told for hook_id in hook_ids if hook_id in one.failed
    ]
    if refused:
        undo()
        tell_services(state_dir)
        fail(*dict.fromkeys(refused), "the change was taken back; what was served before goes on")
    for one in told:
        if one.problem:
            print(
                f"warning: the service at {one.instance.public} (pid {one.instance.pid}) has not taken it over: "
                f"{printable_lines(one.problem)}; it tries again by itself",
                file=sys.stderr,
            )
    return tuple(one.instance.public for one in told if not one.problem)


def show_document(document: Any, output: Literal["table", "json"], draw: Callable[[int], RenderableType]) -> None:
    """Print a document as JSON, or what is drawn of it in so many characters."""
    if output == "json":
        typer.echo(json.dumps(document, indent=2))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=WIDE, highlight=False)  # what reads it does not fold lines
    console.print(draw(console.width))


def fail(*problems: str, status: int = 1) -> NoReturn:
    """Tell what is wrong, a line each, and end the command."""
    for problem in problems:
        print(f"error: {printable_lines(problem)}", file=sys.stderr)
    raise typer.Exit(status)

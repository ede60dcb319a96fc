"""`executor secrets`: the keys that secret settings of hooks are encrypted with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from executor.store.hooks import HookRepository
    from executor.vault.keyring import KeySource

__all__ = ["check", "new_key", "register", "rotate"]

ROTATE_EXAMPLES = """
Examples:

  executor secrets rotate                          make a new key, and encrypt everything with it

  executor secrets rotate --config executor.yaml   ... where secrets.key is configured: with the first key there

Running services go on: each key can be read until nothing is encrypted with it any more. The key before stays in the
file until the next time, unless --forget-old is given.
"""

ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Configuration file (YAML).")]
StateDir = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="Folder for state. (default: in $XDG_STATE_HOME)")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    group = typer.Typer(name="secrets", no_args_is_help=True, help="Keys for the secret settings of hooks.")
    group.command("rotate", help="Encrypt all secrets with a new key.", epilog=ROTATE_EXAMPLES)(rotate)
    group.command("check", help="Tell whether every secret can be decrypted.")(check)
    group.command("new-key", help="Print a new key, for `secrets.key` of the configuration.")(new_key)
    app.add_typer(group)


def rotate(
    *,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    forget_old: Annotated[
        bool, typer.Option("--forget-old", help="Remove the key before from the key file at once.")
    ] = False,
) -> None:
    """Encrypt all secrets with a new key."""
    from executor.vault.rotation import rotate as rotate_keys

    with _opened(config, state_dir) as (hooks, source):
        done = rotate_keys(hooks, source, forget=forget_old)
    typer.echo(
        f"{done.secrets} secrets of {done.hooks} hooks are encrypted with the key {done.current} of {source.shown}"
    )
    if done.kept:
        typer.echo(f"can still be read: {', '.join(done.kept)}")
    if done.dropped:
        typer.echo(f"removed: {', '.join(done.dropped)}")


def check(*, config: ConfigFile = None, state_dir: StateDir = None) -> None:
    """Decrypt every secret, and show none."""
    from executor.vault.errors import SecretUnreadableError
    from executor.vault.vault import Vault

    good, bad = 0, 0
    with _opened(config, state_dir) as (hooks, source):
        vault = Vault(source)
        for hook in hooks.list():
            for name, sealed in hook.secrets.items():
                try:
                    vault.open(hook.hook_id, name, sealed)
                except SecretUnreadableError as error:
                    typer.echo(f"error: {error}", err=True)
                    bad += 1
                else:
                    good += 1
    typer.echo(f"{good} of {good + bad} secrets can be decrypted with {source.shown}")
    if bad:
        raise typer.Exit(1)


def new_key() -> None:
    """Print a key."""
    from executor.vault.keys import new_key as make_key
    from executor.vault.keys import write_keys

    typer.echo(write_keys((make_key(),)), nl=False)


@contextmanager
def _opened(config: Path | None, state_dir: Path | None) -> Iterator[tuple[HookRepository, KeySource]]:
    """Open what a configuration names; errors end the command."""
    from executor.config.load import load_config
    from executor.config.overrides import Overrides
    from executor.config.places import ConfigError
    from executor.errors import ExecutorError
    from executor.store.configured import open_configured_store
    from executor.vault.keyring import key_source

    try:
        loaded = load_config(config, Overrides(state_dir=state_dir))
        with open_configured_store(loaded) as store:
            yield store.hooks, key_source(loaded.secrets.key, loaded.state_dir)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(f"{problem.severity}: {problem}", err=True)
        raise typer.Exit(1) from None
    except ExecutorError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_status) from None

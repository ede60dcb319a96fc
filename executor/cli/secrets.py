"""`executor secrets`: the keys that secret settings of hooks are encrypted with."""

from __future__ import annotations

from typing import Annotated

import typer

from executor.cli.opening import ConfigFile, StateDir, opened_store
from executor.errors import number_of

__all__ = ["check", "new_key", "register", "rotate"]

ROTATE_EXAMPLES = """
Examples:

  executor secrets rotate                          make a new key, and encrypt everything with it

  executor secrets rotate --config executor.yaml   ... where secrets.key is configured: with the first key there

Running services go on: each key can be read until nothing is encrypted with it any more. The key before stays in the
file until the next time, unless --forget-old is given.
"""


def register(app: typer.Typer, about: str) -> None:
    """Add the commands to the program."""
    group = typer.Typer(name="secrets", no_args_is_help=True, help=about)
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
    from executor.vault.keyring import key_source
    from executor.vault.rotation import rotate as rotate_keys

    with opened_store(config, state_dir) as (store, loaded):
        source = key_source(loaded.secrets.key, loaded.state_dir)
        done = rotate_keys(store.hooks, source, forget=forget_old)
    typer.echo(f"the key is {done.current} of {source.shown}")
    if done.secrets:
        typer.echo(f"encrypted with it: {number_of(done.secrets, 'secret')} of {number_of(done.hooks, 'hook')}")
    else:
        typer.echo("there is no secret yet to encrypt with it")
    if done.kept:
        typer.echo(f"older keys that are kept: {', '.join(done.kept)}")
    if done.dropped:
        typer.echo(f"older keys that are removed: {', '.join(done.dropped)}")


def check(*, config: ConfigFile = None, state_dir: StateDir = None) -> None:
    """Decrypt every secret, and show none."""
    from executor.vault.errors import SecretUnreadableError
    from executor.vault.keyring import key_source
    from executor.vault.vault import Vault

    good, bad = 0, 0
    with opened_store(config, state_dir) as (store, loaded):
        source = key_source(loaded.secrets.key, loaded.state_dir)
        vault = Vault(source)
        for hook in store.hooks.list():
            for name, sealed in hook.secrets.items():
                try:
                    vault.open(hook.hook_id, name, sealed)
                except SecretUnreadableError as error:
                    typer.echo(f"error: {error}", err=True)
                    bad += 1
                else:
                    good += 1
    if good + bad:
        typer.echo(f"{good} of {number_of(good + bad, 'secret')} can be decrypted with {source.shown}")
    else:
        typer.echo("there is no secret to decrypt")
    if bad:
        raise typer.Exit(1)


def new_key() -> None:
    """Print a key."""
    from executor.vault.keys import new_key as make_key
    from executor.vault.keys import write_keys

    typer.echo(write_keys((make_key(),)), nl=False)

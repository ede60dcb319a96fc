"""What `executor plugin` and `executor hook` have in common: a store that they change, services that they tell."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from executor.cli.opening import opened_store
from executor.cli.telling import fail, printable_lines
from executor.errors import tell_some

if TYPE_CHECKING:
    from executor.config.model import Config
    from executor.installed.hooks import HookDesk
    from executor.installed.plugins import PluginDesk
    from executor.store.store import Store

__all__ = ["Desk", "open_desk", "put_in_force", "tell_where"]


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
    from executor.vault.keyring import key_source
    from executor.vault.vault import Vault

    with opened_store(config_file, state_dir) as (store, config):
        vault = Vault(key_source(config.secrets.key, config.state_dir))
        hooks = HookDesk(store, InstalledCatalog(config.state_dir), vault)
        yield Desk(config, store, PluginDesk(store, package_folders(config)), hooks)


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
        fail(*tell_some([*dict.fromkeys(refused)]), "the change was taken back; what was served before goes on")
    for one in told:
        if one.problem:
            print(
                f"warning: the service at {one.instance.public} (pid {one.instance.pid}) has not taken it over: "
                f"{printable_lines(one.problem)}; it tries again by itself",
                file=sys.stderr,
            )
    return tuple(one.instance.public for one in told if not one.problem)


def tell_where(services: Collection[str]) -> str:
    """Tell where a change is in force, given the addresses of the services."""
    return f"in force at {', '.join(services)}" if services else "in force when a service is started"

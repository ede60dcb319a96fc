"""Hooks of the store, ready to be served.

One that cannot be served, because its files or its key are missing, does not keep the others from being served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from executor.config.model import Config
from executor.environments.choice import wants_own
from executor.errors import ExecutorError
from executor.hooks import BoundHook, HookParts
from executor.installed.catalog import InstalledCatalog
from executor.installed.errors import InstalledError
from executor.installed.values import complete_values, open_values
from executor.store.records import DEFAULT_TENANT, InstalledPlugin, StoredHook
from executor.store.store import Store
from executor.vault.vault import Vault

__all__ = ["InstalledHooks", "InstalledState"]


@dataclass(frozen=True, slots=True)
class InstalledState:
    """The hooks of the store, at one time.

    Attributes:
        generation: The store's count of changes when it was read.
        hooks: Those that are ready to be served, by id; disabled ones are left out.
        failed: Why others are not, by id.
        own: Folders of plugins whose environment has to be built, unless it is there.
    """

    generation: int
    hooks: Mapping[str, BoundHook]
    failed: Mapping[str, str]
    own: frozenset[Path] = frozenset()


class InstalledHooks:
    """Reads the hooks of the store again and again, and each version of a plugin once.

    Args:
        store: Borrowed.
        state_dir: The state folder.
        vault: Decrypts secrets.
    """

    def __init__(self, store: Store, state_dir: Path, vault: Vault) -> None:
        self._store = store
        self._catalog = InstalledCatalog(state_dir)
        self._vault = vault

    def generation(self) -> int:
        """Count the changes of the store so far.

        Raises:
            StoreError: The store could not be used.
        """
        return self._store.generation()

    def bind(self, config: Config) -> InstalledState:
        """Read all hooks, and bind each to its version with its settings.

        Raises:
            StoreError: The store could not be used.
        """
        generation = self._store.generation()  # first: a change meanwhile is read again
        versions = {version.identifier: version for version in self._store.plugins.list()}
        parts = HookParts(config)
        bound: dict[str, BoundHook] = {}
        failed: dict[str, str] = {}
        for hook in self._store.hooks.list():
            if not hook.enabled:
                continue  # it is answered as if there were none
            try:
                bound[hook.hook_id] = self._bind(hook, versions, parts)
            except ExecutorError as error:
                failed[hook.hook_id] = str(error)
        roots = {hook.plugin.root for hook in bound.values()}
        own = frozenset(root for root in roots if wants_own(root, None, config.environments.default))
        return InstalledState(generation, bound, failed, own)

    def _bind(self, hook: StoredHook, versions: Mapping[str, InstalledPlugin], parts: HookParts) -> BoundHook:
        version = versions.get(hook.active)
        if version is None:
            raise InstalledError(f"{hook.active} is not installed any more")
        plugin = self._catalog.load(version)
        limits, worker = parts.limits(plugin, hook.hook_id)
        return BoundHook(
            hook_id=hook.hook_id,
            plugin=plugin,
            router=parts.router(plugin),
            settings=complete_values(plugin, open_values(hook, self._vault)),
            limits=limits,
            worker=worker,
            enabled=True,
            tenant_id=hook.tenant_id if hook.tenant_id != DEFAULT_TENANT else None,
        )

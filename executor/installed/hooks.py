"""What commands do with hooks: make, change, switch, rotate, remove.

Each change is checked against the plugin that will serve it, all of it at once, before anything is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from executor.catalog.plugin import Plugin
from executor.errors import name_some, tell_some
from executor.installed.catalog import InstalledCatalog
from executor.installed.errors import InstalledError, SettingsRefusedError
from executor.installed.values import change_values, complete_values, find_unknown, open_readable, secret_names
from executor.installed.versions import find_versions, names_version
from executor.store.errors import NotStoredError
from executor.store.records import DEFAULT_TENANT, InstalledPlugin, StoredHook, new_hook_id
from executor.store.store import Store
from executor.vault.vault import Vault

__all__ = ["Change", "HookDesk", "Switch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be different about a hook.

    Attributes:
        values: New values, by setting.
        unset: Settings whose values are taken away; defaults take their place.
        version: The version that is to serve it; `None` for the one that does.
    """

    values: Mapping[str, object]
    unset: Collection[str] = ()
    version: InstalledPlugin | None = None


@dataclass(frozen=True, slots=True)
class Switch:
    """A hook before and after a change."""

    before: StoredHook
    after: StoredHook


class HookDesk:
    """Changes hooks in the store.

    Args:
        store: Borrowed.
        catalog: Reads installed versions.
        vault: Encrypts secrets.
        clock: Unix seconds.
    """

    def __init__(
        self, store: Store, catalog: InstalledCatalog, vault: Vault, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._vault = vault
        self._clock = clock

    def get(self, hook_id: str) -> StoredHook:
        """Find a hook.

        Raises:
            NotStoredError: There is none.
        """
        hook = self._store.hooks.get(hook_id)
        if hook is None:
            known = name_some(self._store.hooks.ids())
            hint = f"there are: {known}" if known else "there is none yet; `executor hook create PLUGIN` makes one"
            raise NotStoredError(f"there is no hook {hook_id}; {hint}")
        return hook

    def version_of(self, identifier: str) -> InstalledPlugin:
        """Find an installed version by its identifier.

        Raises:
            NotStoredError: It is not installed.
        """
        version = self._store.plugins.get(identifier)
        if version is None:
            raise NotStoredError(f"{identifier} is not installed")
        return version

    def plugin_of(self, hook: StoredHook) -> Plugin:
        """Read the plugin that serves a hook.

        Raises:
            BrokenVersionError: Its files are not there, or changed.
        """
        return self._catalog.load(self.version_of(hook.active))

    def values_of(self, hook: StoredHook) -> tuple[dict[str, object], dict[str, str]]:
        """Open the values of a hook, as far as that can be done.

        Returns:
            (values, problems): Secret values; why others cannot be read, by the name of the setting.
        """
        return open_readable(hook, self._vault)

    def create(
        self,
        version: InstalledPlugin,
        values: Mapping[str, object],
        *,
        hook_id: str | None = None,
        tenant_id: str = DEFAULT_TENANT,
        enabled: bool = True,
    ) -> StoredHook:
        """Make a hook.

        Args:
            version: What serves it.
            values: Of the plugin's settings; defaults are filled in.
            hook_id: Its id; a new one that cannot be guessed if not given.
            tenant_id: Whose it is.
            enabled: Whether requests are served.

        Raises:
            SettingsRefusedError: The values do not fit.
            AlreadyStoredError: There is a hook with this id.
        """
        plugin = self._catalog.load(version)
        hook_id = hook_id or new_hook_id()
        completed = _complete(plugin, values, given=values)
        plain, sealed = self._vault.seal_settings(hook_id, completed, secret_names(plugin))
        now = self._clock()
        hook = StoredHook(
            hook_id=hook_id,
            tenant_id=tenant_id,
            plugin_id=version.plugin_id,
            active=version.identifier,
            enabled=enabled,
            settings=plain,
            secrets=sealed,
            created_at=now,
            updated_at=now,
        )
        self._store.hooks.add(hook)
        return hook

    def change(self, hook_id: str, change: Change) -> Switch:
        """Change the values of a hook, the version that serves it, or both at the same time.

        Raises:
            NotStoredError: There is no such hook.
            SettingsRefusedError: The values do not fit.
            InstalledError: The version is one of another plugin.
        """
        before = self.get(hook_id)
        version = change.version or self.version_of(before.active)
        if version.plugin_id != before.plugin_id:
            raise InstalledError(f"hook {hook_id} is one of {before.plugin_id}, and {version.identifier} is not")
        plugin = self._catalog.load(version)
        return self._update(hook_id, lambda hook: self._changed(hook, plugin, version, change))

    def switch(self, hooks: Sequence[StoredHook], version: InstalledPlugin) -> tuple[Switch, ...]:
        """Have hooks served by another version of their plugin; those that are already are left alone.

        Raises:
            SettingsRefusedError: The values of some do not fit what that version declares; none was changed.
        """
        plugin = self._catalog.load(version)
        moved = [hook for hook in hooks if hook.active != version.identifier]
        problems: list[str] = []
        for hook in moved:
            try:
                self._changed(hook, plugin, version, Change(values={}))
            except SettingsRefusedError as error:
                problems += [f"hook {hook.hook_id}: {problem}" for problem in error.problems]
        if problems:
            raise SettingsRefusedError(tell_some(problems))
        return tuple(self.change(hook.hook_id, Change(values={}, version=version)) for hook in moved)

    def switch_back(self, hooks: Sequence[StoredHook]) -> tuple[Switch, ...]:
        """Have hooks served by the version that served them before.

        Raises:
            InstalledError: A hook has none; none was changed.
        """
        fresh = [hook.hook_id for hook in hooks if hook.previous is None]
        if fresh:
            raise InstalledError(
                f"no version before the present one is known, or it was removed: hook {name_some(fresh)}; choose one "
                "with `executor hook set HOOK --version VERSION`"
            )
        targets = [(hook, self.version_of(hook.previous or "")) for hook in hooks]
        return tuple(self.change(hook.hook_id, Change(values={}, version=version)) for hook, version in targets)

    def enable(self, hook_id: str, *, enabled: bool) -> Switch:
        """Serve a hook, or do not.

        Raises:
            NotStoredError: There is no such hook.
        """
        self.get(hook_id)
        return self._update(hook_id, lambda hook: replace(hook, enabled=enabled))

    def rotate(self, hook_id: str, new_id: str | None = None) -> Switch:
        """Give a hook another id; who knows the old one does not reach it any more.

        Raises:
            NotStoredError: There is no such hook.
            AlreadyStoredError: There is another hook with the new id.
        """
        self.get(hook_id)
        new_id = new_id or new_hook_id()

        def rename(hook: StoredHook) -> StoredHook:
            sealed = {
                name: self._vault.seal(new_id, name, self._vault.open(hook_id, name, text))
                for name, text in hook.secrets.items()
            }
            return replace(hook, hook_id=new_id, secrets=sealed)

        return self._update(hook_id, rename)

    def remove(self, hook_id: str) -> StoredHook:
        """Forget a hook and what it has stored for itself.

        Raises:
            NotStoredError: There is no such hook.
        """
        self.get(hook_id)
        return self._store.hooks.remove(hook_id)

    def remove_all(self, hook_ids: Collection[str]) -> int:
        """Forget hooks and what they have stored for themselves, all or none; how many there were.

        Raises:
            NotStoredError: One of them is not there.
        """
        return self._store.hooks.remove_all(hook_ids)

    def find(self, name: str) -> tuple[StoredHook, ...]:
        """Find the hooks of a plugin, or of a version where the name says which.

        Args:
            name: As people give it, such as `cat`, `tester/cat` or `tester/cat:0.0.1`.

        Raises:
            InstalledError: It is none of an installed plugin, or may be that of several.
        """
        versions = find_versions(name, self._store.plugins.list())
        hooks = self._store.hooks.list(plugin_id=versions[0].plugin_id)
        if not names_version(name):
            return hooks
        return tuple(hook for hook in hooks if hook.active in {one.identifier for one in versions})

    def undo(self, switch: Switch) -> None:
        """Bring a hook back to what it was before a change, if it has not been changed again since."""

        def restore(hook: StoredHook) -> StoredHook:
            return switch.before if replace(hook, updated_at=0) == replace(switch.after, updated_at=0) else hook

        self._store.hooks.update(switch.after.hook_id, restore)

    def _changed(self, hook: StoredHook, plugin: Plugin, version: InstalledPlugin, change: Change) -> StoredHook:
        old, unreadable = open_readable(hook, self._vault)
        lost = [problem for name, problem in unreadable.items() if name not in {*change.values, *change.unset}]
        if lost:
            raise SettingsRefusedError(lost)
        values = change_values(old, change.values, change.unset, secret_names(plugin) | set(hook.secrets))
        misspelt = [name for name in change.unset if name not in old and name not in unreadable]
        completed = _complete(plugin, values, given=[*change.values, *misspelt])
        plain, sealed = self._vault.seal_settings(hook.hook_id, completed, secret_names(plugin))
        previous = hook.active if version.identifier != hook.active else hook.previous
        return replace(hook, active=version.identifier, previous=previous, settings=plain, secrets=sealed)

    def _update(self, hook_id: str, change: Callable[[StoredHook], StoredHook]) -> Switch:
        seen: list[StoredHook] = []

        def note(hook: StoredHook) -> StoredHook:
            seen.append(hook)
            return change(hook)

        after = self._store.hooks.update(hook_id, note)
        return Switch(seen[-1], after)


def _complete(plugin: Plugin, values: Mapping[str, object], *, given: Collection[str]) -> dict[str, object]:
    """Check the names that somebody gave, and all values; everything that is wrong at once."""
    problems = find_unknown(plugin, given)
    try:
        completed = complete_values(plugin, values)
    except SettingsRefusedError as error:
        raise SettingsRefusedError([*problems, *error.problems]) from None
    if problems:
        raise SettingsRefusedError(problems)
    return completed

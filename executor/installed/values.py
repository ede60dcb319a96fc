"""Values of a hook's settings between people, the store and the endpoint: checked, sealed, opened, masked."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from executor.catalog.plugin import Plugin
from executor.catalog.settings import resolve_settings
from executor.installed.errors import SettingsRefusedError
from executor.store.records import StoredHook
from executor.vault.errors import SecretUnreadableError
from executor.vault.masks import keep_masked, mask
from executor.vault.vault import Vault
from protocol.checks import check_map
from protocol.errors import LocalProtocolError
from protocol.limits import MAX_NODES, MAX_SETTINGS_BYTES

__all__ = [
    "change_values",
    "complete_values",
    "find_unknown",
    "mask_values",
    "open_readable",
    "open_values",
    "secret_names",
]


def secret_names(plugin: Plugin) -> frozenset[str]:
    """List the settings of a plugin whose values are secret."""
    return frozenset(setting.name for setting in plugin.settings if setting.secret)


def find_unknown(plugin: Plugin, names: Collection[str]) -> list[str]:
    """Find names that the plugin does not declare: in Dify they would pass, and here they are most likely misspelt."""
    declared = [setting.name for setting in plugin.settings]
    known = ", ".join(declared) or "none"
    return [
        f"setting {name}: the plugin has no such setting; it has: {known}" for name in names if name not in declared
    ]


def complete_values(plugin: Plugin, values: Mapping[str, object]) -> dict[str, object]:
    """Check values, and fill in defaults for those that are absent.

    Raises:
        SettingsRefusedError: They do not fit; all problems at once.
    """
    resolved = resolve_settings(plugin.settings, values)
    problems = [problem.message for problem in resolved.problems]
    if not problems:
        try:
            check_map("settings", resolved.values, MAX_NODES, MAX_SETTINGS_BYTES)
        except LocalProtocolError as error:
            problems.append(f"the settings cannot be sent to a worker: {error}")
    if problems:
        raise SettingsRefusedError(problems)
    return resolved.values


def open_values(hook: StoredHook, vault: Vault) -> dict[str, object]:
    """Put the values of a hook together. Secret.

    Raises:
        SecretUnreadableError: One of them cannot be decrypted.
    """
    return vault.open_settings(hook.hook_id, hook.settings, hook.secrets)


def open_readable(hook: StoredHook, vault: Vault) -> tuple[dict[str, object], dict[str, str]]:
    """Put together what can be decrypted.

    Returns:
        (values, problems): Secret values; why others cannot be, by the name of the setting.
    """
    values = dict(hook.settings)
    problems: dict[str, str] = {}
    for name, sealed in hook.secrets.items():
        try:
            values[name] = vault.open(hook.hook_id, name, sealed)
        except SecretUnreadableError as error:
            problems[name] = str(error)
    return values, problems


def change_values(
    old: Mapping[str, object], given: Mapping[str, object], unset: Collection[str], secret: Collection[str]
) -> dict[str, object]:
    """Put new values over old ones. A secret that is given as its own mask has not been changed, as in Dify."""
    hidden = {name: value for name, value in given.items() if name in secret}
    changed = {**old, **given, **keep_masked(hidden, old)}
    return {name: value for name, value in changed.items() if name not in unset}


def mask_values(values: Mapping[str, object], secret: Collection[str]) -> dict[str, object]:
    """Hide the values that are secret."""
    return {name: _mask(value) if name in secret else value for name, value in values.items()}


def _mask(value: object) -> object:
    return [mask(item) for item in value] if isinstance(value, list) else None if value is None else mask(value)

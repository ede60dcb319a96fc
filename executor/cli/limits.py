"""`executor limits`: what holds for one hook, where it comes from, and what enforces it on this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from executor.catalog.plugin import Plugin
from executor.cli.opening import StateDir
from executor.cli.showing import Format, cell, show_document
from executor.cli.tables import Column, draw_table
from executor.cli.telling import fail
from executor.config.effective import Effective, Level, explain_limits, explain_worker
from executor.config.limits import quantity_of
from executor.config.load import load_config
from executor.config.model import Config
from executor.config.overrides import Overrides
from executor.config.places import ConfigError
from executor.config.units import Quantity, format_size
from executor.config.worker import WorkerSettings
from executor.errors import ExecutorError, name_some
from executor.hooks import Paired, pair_hooks
from executor.isolation.enforcement import enforcement

__all__ = ["HostGroups", "describe_limits", "draw_limits", "find_groups", "limits", "register"]

EXAMPLES = """
Examples:

  executor limits my_plugin ./my_plugin               a plugin folder, served as hook <manifest name>

  executor limits cat --config executor.yaml          a hook of a configuration file

  executor limits 4fxhq2d1m9ab7cde                    a hook of an installed plugin

  executor limits cat --config executor.yaml --format json | jq '.limits.memory'

Nothing is started and nothing of the plugin is run. Values for the plugin's settings need not be given. What enforces
a limit is found out on this machine, for the user who asks: run it as the user of the service. docs/settings.md
explains every limit.
"""

COLUMNS: Final = (
    Column("LIMIT", text=True),
    Column("VALUE"),
    Column("FROM", text=True, folds=True),
    Column("ENFORCED BY", text=True, folds=True),
)


@dataclass(frozen=True, slots=True)
class HostGroups:
    """What control groups this process can use.

    Attributes:
        version: `None` when there are none.
        controllers: Names of those that can be used.
        swap_limited: Whether swap is kept from workers.
        reason: Why there are none, and what to do about it; otherwise empty.
    """

    version: Literal["v1", "v2"] | None
    controllers: frozenset[str] = frozenset()
    swap_limited: bool = False
    reason: str = ""


def register(app: typer.Typer, about: str) -> None:
    """Add the command to the program."""
    app.command("limits", help=about, epilog=EXAMPLES)(limits)


def limits(
    hook: Annotated[str, typer.Argument(metavar="HOOK", help="The hook's id.", show_default=False)],
    plugins: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PLUGIN", help="Plugin folders besides those of the file.", show_default=False),
    ] = None,
    *,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Configuration file (YAML).")] = None,
    state_dir: StateDir = None,
    output: Format = "table",
) -> None:
    """Work out the limits of one hook and show them."""
    try:
        loaded = load_config(config, Overrides(plugins=tuple(plugins or ()), state_dir=state_dir), with_values=False)
    except ConfigError as error:
        fail(*(str(problem) for problem in error.problems))
    for note in loaded.notes:
        print(f"{note.severity}: {note}", file=sys.stderr)
    plugin = _find_plugin(hook, pair_hooks(loaded), loaded)
    document = describe_limits(loaded, hook, plugin, find_groups(loaded))
    show_document(document, output, lambda width: draw_limits(document, width))


def find_groups(config: Config) -> HostGroups:
    """Find out, by trying, what control groups this process can use."""
    if "control_groups" in config.isolation.off:
        return HostGroups(None, reason="switched off by isolation.off")

    from executor.isolation.control_groups import Unavailable, open_control_groups  # not needed by other commands

    groups = open_control_groups()
    if isinstance(groups, Unavailable):
        return HostGroups(None, reason=f"{groups.reason}; {groups.remedy}")
    try:
        return HostGroups(groups.version, groups.controllers, groups.swap_limited)
    finally:
        groups.close()


def describe_limits(config: Config, hook_id: str, plugin: Plugin, groups: HostGroups) -> dict[str, Any]:
    """Describe the limits of a hook as plain data.

    Returns:
        `hook`; `plugin`, a map of `name`, `version` and `path`; `control_groups`, a map of `version` (`v1`, `v2` or
        null), `controllers` and `reason` (null, or why there are none); `limits`, a map by name, in the order of
        docs/settings.md, of maps with `value`, `unit` (`s`, `bytes`, `CPUs`, or null for a count), `shown` (the
        value for people), `level` (`default`, `general`, `manifest`, `plugin` or `hook`), `place` (where it was
        given, or null), `lowered_to` (the limit to which it was lowered, of which level and place then are, or null)
        and `enforced_by`; `worker`, the same for the section `worker`, whose keys nothing lowers. Keys may be added
        in later versions.
    """
    explained = explain_limits(config, plugin.root, hook_id, memory_hint_bytes=plugin.memory_hint_bytes)
    described = {
        name: {
            **_describe(config, plugin, quantity_of(name), effective),
            "enforced_by": enforcement(
                name,
                groups.version,
                groups.controllers,
                resource_limits="resource_limits" not in config.isolation.off,
                swap_limited=groups.swap_limited,
            ),
        }
        for name, effective in explained.items()
    }
    return {
        "hook": hook_id,
        "plugin": {"name": plugin.name, "version": plugin.version, "path": str(plugin.root)},
        "control_groups": {
            "version": groups.version,
            "controllers": sorted(groups.controllers),
            "reason": groups.reason or None,
        },
        "limits": described,
        "worker": {
            name: {
                **_describe(config, plugin, quantity_of(name, WorkerSettings), effective),
                "enforced_by": "the supervisor" if name == "max_invocations" else "the supervisor's clock",
            }
            for name, effective in explain_worker(config, plugin.root, hook_id).items()
        },
    }


def draw_limits(document: Mapping[str, Any], width: int) -> RenderableType:
    """Draw what `describe_limits` returned in lines of `width` characters."""
    rows = [
        (cell(name, "cyan"), cell(item["shown"]), _origin(item), cell(item["enforced_by"]))
        for name, item in [
            *document["limits"].items(),
            *((f"worker.{name}", item) for name, item in document["worker"].items()),
        ]
    ]
    plugin, groups = document["plugin"], document["control_groups"]
    if groups["version"]:
        found = f"control groups: {groups['version']} with {', '.join(groups['controllers']) or 'no controllers'}"
    else:
        found = f"no control groups: {groups['reason']}"
    return Group(
        draw_table(COLUMNS, rows, width),
        cell(f"hook {document['hook']}, plugin {plugin['name']} {plugin['version']} in {plugin['path']}", "dim"),
        cell(found, "dim" if groups["version"] else "yellow"),
    )


def _find_plugin(hook_id: str, paired: Paired, config: Config) -> Plugin:
    """Find the plugin of a hook; end the command when there is no such hook, or it cannot be served."""
    if hook_id in paired.hooks:
        return paired.hooks[hook_id]
    try:
        plugin, installed = _find_installed(hook_id, config)
    except ExecutorError as error:
        fail(*(str(problem) for problem in paired.problems), *str(error).splitlines())
    if plugin is None:
        known = name_some(sorted({*paired.hooks, *installed}))
        hint = f"there are: {known}" if known else "there are none; name a plugin folder or --config"
        fail(*(str(problem) for problem in paired.problems), f"no hook {hook_id!r} can be served; {hint}")
    return plugin


def _find_installed(hook_id: str, config: Config) -> tuple[Plugin | None, list[str]]:
    """Find the plugin of a hook in the store, and the ids of all that are there; where there is no store, none is made.

    Raises:
        ExecutorError: The store, or the plugin, cannot be read.
    """
    from executor.installed.catalog import InstalledCatalog  # not needed for hooks of files
    from executor.store.configured import open_configured_store
    from executor.store.database import FILE
    from executor.store.errors import NotStoredError

    if config.store.url is None and not (config.state_dir / FILE).exists():
        return None, []
    with open_configured_store(config) as store:
        hook = store.hooks.get(hook_id)
        if hook is None:
            return None, [*store.hooks.ids()]
        version = store.plugins.get(hook.active)
        if version is None:
            raise NotStoredError(f"{hook.active} is not installed")
        return InstalledCatalog(config.state_dir).load(version), []


def _describe(config: Config, plugin: Plugin, quantity: Quantity, effective: Effective) -> dict[str, Any]:
    value = effective.value
    shown = quantity.show(value)
    if quantity.unit == "CPUs":
        shown += " CPU" if value == 1 else " CPUs"
    return {
        "value": value,
        "unit": quantity.unit or None,
        "shown": shown,
        "level": effective.level.name.lower(),
        "place": _find_place(config, plugin, effective),
        "lowered_to": effective.lowered_to or None,
    }


def _find_place(config: Config, plugin: Plugin, effective: Effective) -> str | None:
    if effective.level is Level.MANIFEST:
        return f"resource.memory: {format_size(plugin.memory_hint_bytes or 0)}"
    return str(config.source.locate(effective.path)) if effective.path else None


def _origin(item: Mapping[str, Any]) -> Text:
    """Say where a limit comes from."""
    origin = ", ".join(part for part in (item["level"], item["place"]) if part)
    return cell(f"lowered to {item['lowered_to']}: {origin}" if item["lowered_to"] else origin)

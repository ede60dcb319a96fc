"""Installed versions of plugins, as `executor plugin` shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Group, RenderableType

from executor.cli.desk import tell_where
from executor.cli.showing import cell
from executor.cli.tables import Column, draw_table
from executor.cli.times import show_time
from executor.errors import name_some

if TYPE_CHECKING:
    from executor.catalog.plugin import Plugin
    from executor.cli.desk import Desk
    from executor.store.records import InstalledPlugin

__all__ = ["describe_declaration", "describe_version", "draw_switches", "draw_version", "draw_versions"]

COLUMNS: Final = (
    Column("PLUGIN", text=True, folds=True),
    Column("VERSION", text=True),
    Column("CHECKSUM", text=True),
    Column("HOOKS"),
    Column("SIGNED BY", text=True, needs=100, folds=True),
    Column("INSTALLED", text=True, needs=80),
)
SHORT_CHECKSUM: Final = 12


def describe_version(desk: Desk, version: InstalledPlugin) -> dict[str, Any]:
    """Describe an installed version, with the hooks that it serves, as plain data."""
    return {
        "identifier": version.identifier,
        "author": version.author,
        "name": version.name,
        "version": version.version,
        "checksum": version.checksum,
        "label": version.declaration.get("label", ""),
        "signed_by": version.signed_by,
        "installed_at": version.installed_at,
        "environment": version.environment,
        "environment_problem": version.environment_problem,
        "hooks": [*desk.store.hooks.ids(active=version.identifier)],
    }


def describe_declaration(plugin: Plugin) -> dict[str, Any]:
    """Describe what a plugin declares, and where it is, as plain data; without defaults of secrets."""
    return {
        "folder": str(plugin.root),
        "endpoints": [
            {"method": endpoint.method, "path": endpoint.path, "source": endpoint.source}
            for endpoint in plugin.endpoints
        ],
        "settings": [
            {
                "name": setting.name,
                "type": setting.type.value,
                "required": setting.required,
                "default": None if setting.secret else setting.default,
                "options": [option.value for option in setting.options],
                "label": str(setting.label),
                "help": str(setting.help),
            }
            for setting in plugin.settings
        ],
    }


def draw_versions(plugins: list[dict[str, Any]], width: int) -> RenderableType:
    """Draw a list of versions in lines of `width` characters."""
    if not plugins:
        return cell("nothing is installed; `executor plugin install PACKAGE` does it", "dim")
    rows = [
        (
            cell(f"{one['author']}/{one['name']}", "cyan"),
            cell(one["version"]),
            cell(one["checksum"][:SHORT_CHECKSUM], "dim"),
            cell(len(one["hooks"])),
            cell(one["signed_by"]),
            cell(show_time(one["installed_at"])),
        )
        for one in plugins
    ]
    return draw_table(COLUMNS, rows, width)


def draw_version(document: dict[str, Any], width: int) -> RenderableType:
    """Draw all about one version, with what it declares."""
    facts = [
        ("plugin", f"{document['author']}/{document['name']} {document['version']}"),
        ("label", document["label"] or None),
        ("identifier", document["identifier"]),
        ("signed by", document["signed_by"]),
        ("installed", show_time(document["installed_at"])),
        ("folder", document["folder"]),
        ("environment", document["environment"] or document["environment_problem"] or "that of the executor"),
        ("hooks", name_some(document["hooks"]) or None),
    ]
    settings = [
        (cell(one["name"], "cyan"), cell(one["type"]), _need(one), cell(one["label"]), cell(one["help"] or None))
        for one in document["settings"]
    ]
    endpoints = [(cell(one["method"], "cyan"), cell(one["path"])) for one in document["endpoints"]]
    setting_columns = [Column(name, text=True, folds=True) for name in ("SETTING", "TYPE", "NEED", "LABEL", "HELP")]
    return Group(
        draw_table(
            [Column("", text=True), Column("", text=True, folds=True)],
            [(cell(name, "bold"), cell(text)) for name, text in facts],
            width,
        ),
        cell(""),
        draw_table(setting_columns, settings, width) if settings else cell("no settings", "dim"),
        cell(""),
        draw_table([Column("METHOD", text=True), Column("PATH", text=True, folds=True)], endpoints, width),
    )


def _need(setting: dict[str, Any]) -> Any:
    if setting["default"] is not None:
        return cell(f"default: {setting['default']}")
    return cell("required" if setting["required"] else "optional")


def draw_switches(document: dict[str, Any], chosen: int) -> RenderableType:
    """Draw which hooks were switched from which version to which.

    Args:
        document: `hooks`, each with `hook_id`, `from` and `to`; `services`, the addresses where that is in force.
        chosen: How many hooks could have been switched.
    """
    if not document["hooks"]:
        return cell("there is no hook to switch" if not chosen else "the hooks are served by this version already")
    lines = [cell(f"hook {one['hook_id']}: {one['from']} -> {one['to']}") for one in document["hooks"]]
    return Group(*lines, cell(tell_where(document["services"]), "dim"))

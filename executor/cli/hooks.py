"""Hooks of installed plugins, as `executor hook` shows them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group, RenderableType

from executor.cli.showing import cell
from executor.cli.tables import Column, draw_table
from executor.cli.telling import printable_lines
from executor.cli.times import show_time
from executor.config.instance import find_instances
from executor.installed.values import mask_values, secret_names

if TYPE_CHECKING:
    from executor.cli.desk import Desk
    from executor.store.records import StoredHook

__all__ = ["describe_hook", "describe_hooks", "draw_hook", "draw_hooks"]

COLUMNS: Final = (
    Column("HOOK", text=True),
    Column("PLUGIN", text=True, folds=True),
    Column("VERSION", text=True),
    Column("STATE", text=True),
    Column("CHANGED", text=True, needs=80),
)


def describe_hooks(desk: Desk, hooks: Sequence[StoredHook]) -> list[dict[str, Any]]:
    """Describe hooks as plain data, without settings and endpoints."""
    services = [instance.public for instance in find_instances(desk.config.state_dir)]
    versions = {one: desk.hooks.version_of(one).version for one in {hook.active for hook in hooks}}
    return [
        {
            "hook_id": hook.hook_id,
            "plugin": hook.plugin_id,
            "version": versions[hook.active],
            "identifier": hook.active,
            "previous": hook.previous,
            "enabled": hook.enabled,
            "tenant_id": hook.tenant_id,
            "created_at": hook.created_at,
            "updated_at": hook.updated_at,
            "urls": [f"{public}/e/{hook.hook_id}/" for public in services],
        }
        for hook in hooks
    ]


def describe_hook(desk: Desk, hook: StoredHook) -> dict[str, Any]:
    """Describe a hook with its settings, secrets masked, and its endpoints; what is wrong with the settings is told."""
    (document,) = describe_hooks(desk, [hook])
    plugin = desk.hooks.plugin_of(hook)
    secret = secret_names(plugin) | set(hook.secrets)
    values, problems = desk.hooks.values_of(hook)
    for problem in problems.values():
        print(f"warning: {printable_lines(problem)}", file=sys.stderr)
    document["settings"] = mask_values({**values, **dict.fromkeys(problems)}, secret)
    document["endpoints"] = [
        {"method": endpoint.method, "path": f"/e/{hook.hook_id}{endpoint.path}"} for endpoint in plugin.endpoints
    ]
    return document


def draw_hooks(hooks: Sequence[dict[str, Any]], width: int) -> RenderableType:
    """Draw a list of hooks in lines of `width` characters."""
    if not hooks:
        return cell("there is no hook; `executor hook create PLUGIN` makes one", "dim")
    rows = [
        (
            cell(one["hook_id"], "cyan"),
            cell(one["plugin"]),
            cell(one["version"]),
            cell("enabled" if one["enabled"] else "disabled", "" if one["enabled"] else "yellow"),
            cell(show_time(one["updated_at"])),
        )
        for one in hooks
    ]
    return draw_table(COLUMNS, rows, width)


def draw_hook(document: dict[str, Any], width: int) -> RenderableType:
    """Draw all about one hook, with its settings and addresses."""
    facts = [
        ("hook", document["hook_id"]),
        ("plugin", document["identifier"]),
        ("before", document["previous"]),
        ("state", "enabled" if document["enabled"] else "disabled"),
        ("tenant", document["tenant_id"]),
        ("changed", show_time(document["updated_at"])),
    ]
    bases = [url.removesuffix(f"/e/{document['hook_id']}/") for url in document["urls"]] or [""]
    endpoints = [
        (cell(one["method"], "cyan"), cell(f"{base}{one['path']}")) for base in bases for one in document["endpoints"]
    ]
    settings = [
        (cell(name, "cyan"), cell(value if isinstance(value, str) else json.dumps(value)))
        for name, value in document["settings"].items()
    ]
    two = [Column("", text=True), Column("", text=True, folds=True)]
    return Group(
        draw_table(two, [(cell(name, "bold"), cell(text)) for name, text in facts], width),
        cell(""),
        draw_table([Column("SETTING", text=True), Column("VALUE", text=True, folds=True)], settings, width)
        if settings
        else cell("no settings", "dim"),
        cell(""),
        draw_table([Column("METHOD", text=True), Column("ADDRESS", text=True, folds=True)], endpoints, width),
    )

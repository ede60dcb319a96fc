"""`executor plugin`: install, list, upgrade and remove versions of plugins; `packing` makes packages of them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from executor.catalog.findings import printable
from executor.cli.check import describe_errors
from executor.cli.desk import Desk, open_desk, put_in_force
from executor.cli.opening import ConfigFile, StateDir
from executor.cli.packing import PACKAGE_EXAMPLES, package
from executor.cli.showing import Format, show_document
from executor.cli.telling import fail
from executor.cli.versions import (
    describe_declaration,
    describe_version,
    draw_switches,
    draw_version,
    draw_versions,
)
from executor.errors import name_some, number_of

if TYPE_CHECKING:
    from executor.installed.hooks import Switch
    from executor.installed.plugins import Installation

__all__ = ["install", "list_plugins", "register", "remove", "show", "upgrade"]

INSTALL_EXAMPLES = """
Examples:

  executor plugin install cat.difypkg            a package

  executor plugin install ./cat                  a folder, packed as `executor plugin package` does

  executor plugin install cat.difypkg && executor hook create cat

What the plugin needs is installed into an environment of its own, in a sandbox; nothing of the plugin itself is run.
Versions are kept side by side; hooks that are served by another one stay with it until `executor plugin upgrade`. Who
must have signed packages, and how large they may be, is in the section `packages` of the configuration.
"""
LIST_EXAMPLES = """
Examples:

  executor plugin list

  executor plugin list --format json | jq -r '.plugins[].identifier'
"""
SHOW_EXAMPLES = """
Examples:

  executor plugin show cat                       the version that was installed last

  executor plugin show tester/cat:0.0.1          another one; its settings, its endpoints, its hooks
"""
UPGRADE_EXAMPLES = """
Examples:

  executor plugin upgrade cat                    all its hooks: to the version that was installed last

  executor plugin upgrade cat-0.0.2.difypkg      install it, then the same

  executor plugin upgrade cat:0.0.1              to a certain version

  executor plugin upgrade cat --hook 4fxhq2d1    one hook only

  executor plugin upgrade cat --back             back to the version before

A running service tries the version with a worker first. No request is dropped: those that run end with the version that
they began with. When a hook's settings do not fit the version, or it cannot be served, nothing changes.
"""
REMOVE_EXAMPLES = """
Examples:

  executor plugin remove cat:0.0.1               one version

  executor plugin remove cat --all               all versions

A version that serves hooks stays: `executor hook remove` them, or upgrade them. What the plugin has stored stays, too.
"""

Name = Annotated[str, typer.Argument(metavar="NAME", help="cat, tester/cat or tester/cat:0.0.1.", show_default=False)]


def register(app: typer.Typer, about: str) -> None:
    """Add the commands to the program."""
    group = typer.Typer(name="plugin", no_args_is_help=True, help=about)
    add = group.command
    add("install", help="Install a package (.difypkg) or a folder.", epilog=INSTALL_EXAMPLES)(install)
    add("list", help="List the installed versions.", epilog=LIST_EXAMPLES)(list_plugins)
    add("show", help="Show a version: its settings, endpoints and hooks.", epilog=SHOW_EXAMPLES)(show)
    add("upgrade", help="Have hooks served by another version, or back.", epilog=UPGRADE_EXAMPLES)(upgrade)
    add("remove", help="Remove versions that serve no hook.", epilog=REMOVE_EXAMPLES)(remove)
    add("package", help="Pack a plugin's folder into a .difypkg file.", epilog=PACKAGE_EXAMPLES)(package)
    app.add_typer(group)


def install(
    source: Annotated[
        Path, typer.Argument(metavar="PACKAGE", help="A .difypkg file or a plugin's folder.", show_default=False)
    ],
    *,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    output: Format = "table",
) -> None:
    """Install a version."""
    with open_desk(config, state_dir) as desk:
        done = _install(desk, source)
        document = describe_version(desk, done.version) | {"fresh": done.fresh, "warnings": _warnings(done)}
        served = [hook.hook_id for hook in desk.store.hooks.list(plugin_id=done.version.plugin_id)]
    if output == "json":
        show_document(document, output, lambda _: "")
        return
    for warning in document["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    typer.echo(f"{'installed' if done.fresh else 'installed already:'} {done.version.identifier}")
    typer.echo(f"signature: {_signature(done)}")
    verb = "upgrade" if served else "create"
    command = f"executor plugin upgrade {done.version.name}" if served else f"executor hook create {done.version.name}"
    kept = "its hook stays with the version that it has"
    if len(served) > 1:
        kept = f"its {number_of(len(served), 'hook')} stay with the versions that they have"
    hint = kept if served else "it has no hook yet"
    typer.echo(f"{hint}; to {verb}: {command}")


def _install(desk: Desk, source: Path) -> Installation:
    from executor.installed.environments import build_environment
    from executor.installed.errors import InstalledError
    from executor.installed.plugins import read_package
    from executor.packages.errors import PackageError
    from executor.packages.folders import InvalidPluginError

    packages = desk.config.packages
    try:
        done = desk.plugins.install(read_package(source, packages.limits, require_signature=packages.require_signature))
    except InvalidPluginError as error:
        fail(*describe_errors(source, error.findings))
    except PackageError as error:
        raise InstalledError(f"{source}: {error}") from error
    version = build_environment(desk.config, desk.store, done.version, done.unpacked.plugin, _tell)
    done = replace(done, version=version)
    _clean_up(desk)  # tells services, too: hooks may have waited for these very files
    return done


def _tell(line: str) -> None:
    print(printable(line), file=sys.stderr)


def _clean_up(desk: Desk) -> set[str]:
    """Delete the files of removed versions that no service uses; the folders that services use."""
    from executor.installed.services import tell_services

    told = tell_services(desk.config.state_dir)
    used = {folder for one in told for folder in one.folders}
    if not any(one.problem for one in told):
        desk.plugins.sweep(used)
    return used


def _warnings(done: Installation) -> list[str]:
    return [str(finding) for finding in done.unpacked.findings if finding.severity == "warning"]


def _signature(done: Installation) -> str:
    if done.unpacked.key is not None:
        return f"good, by {printable(str(done.unpacked.key.file))}"
    return "by somebody who is not in packages.public_keys" if done.unpacked.signed else "none"


def list_plugins(*, config: ConfigFile = None, state_dir: StateDir = None, output: Format = "table") -> None:
    """List what is installed."""
    with open_desk(config, state_dir) as desk:
        document = {"plugins": [describe_version(desk, version) for version in desk.store.plugins.list()]}
    show_document(document, output, lambda width: draw_versions(document["plugins"], width))


def show(name: Name, *, config: ConfigFile = None, state_dir: StateDir = None, output: Format = "table") -> None:
    """Show one version."""
    from executor.installed.catalog import InstalledCatalog
    from executor.installed.versions import find_version

    with open_desk(config, state_dir) as desk:
        version = find_version(name, desk.store.plugins.list())
        plugin = InstalledCatalog(desk.config.state_dir).load(version)
        document = describe_version(desk, version) | describe_declaration(plugin)
    show_document(document, output, lambda width: draw_version(document, width))


def upgrade(
    name: Annotated[
        str, typer.Argument(metavar="NAME|PACKAGE", help="An installed plugin, or a package.", show_default=False)
    ],
    *,
    hooks: Annotated[
        list[str] | None, typer.Option("--hook", metavar="HOOK", help="Only this hook; may be repeated.")
    ] = None,
    back: Annotated[bool, typer.Option("--back", help="Back to the version that each hook had before.")] = False,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    output: Format = "table",
) -> None:
    """Switch hooks to another version."""
    from executor.installed.versions import find_plugin_id, find_version

    with open_desk(config, state_dir) as desk:
        installed = desk.store.plugins.list()
        if _is_package(name):
            version = _install(desk, Path(name)).version
            plugin_id = version.plugin_id
        else:
            plugin_id = find_plugin_id(name, installed)
            version = find_version(name, installed)
        present = desk.store.hooks.list(plugin_id=plugin_id)
        chosen = [hook for hook in present if not hooks or hook.hook_id in hooks]
        missing = set(hooks or ()) - {hook.hook_id for hook in chosen}
        if missing:
            known = name_some([hook.hook_id for hook in present])
            fail(f"{plugin_id} has no hook {name_some(sorted(missing))}; it has {known or 'none'}")
        switches = desk.hooks.switch_back(chosen) if back else desk.hooks.switch(chosen, version)
        changed = [switch.after.hook_id for switch in switches]
        services = put_in_force(desk.config.state_dir, changed, lambda: _undo(desk, switches))
    document = {
        "hooks": [
            {"hook_id": switch.after.hook_id, "from": switch.before.active, "to": switch.after.active}
            for switch in switches
        ],
        "services": list(services),
    }
    show_document(document, output, lambda _: draw_switches(document, len(chosen)))


def _undo(desk: Desk, switches: tuple[Switch, ...]) -> None:
    for switch in switches:
        desk.hooks.undo(switch)


def _is_package(name: str) -> bool:
    """Tell a path from the name of an installed plugin."""
    return name.endswith(".difypkg") or name.startswith((".", "/", "~")) or Path(name).is_file()


def remove(
    name: Name,
    *,
    every: Annotated[bool, typer.Option("--all", help="All versions that the name may mean.")] = False,
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> None:
    """Remove versions."""
    from executor.installed.versions import find_versions

    with open_desk(config, state_dir) as desk:
        versions = find_versions(name, desk.store.plugins.list())
        if len(versions) > 1 and not every:
            fail(f"{name} may be {' or '.join(one.identifier for one in versions)}; name one of them, or give --all")
        for version in versions:
            desk.plugins.remove(version)
            typer.echo(f"removed {version.identifier}")
        used = _clean_up(desk)
        if any(str(desk.plugins.folder_of(version)) in used for version in versions):
            typer.echo("requests are still served from its files; the next `executor plugin remove` deletes them")

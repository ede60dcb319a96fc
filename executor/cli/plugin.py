"""`executor plugin`: make packages; install, list, upgrade and remove versions of plugins."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Group, RenderableType

from executor.catalog.findings import printable
from executor.catalog.plugin import Plugin, load_plugin
from executor.cli.asking import Column, cell, draw_table, human_bytes
from executor.cli.desk import ConfigFile, Desk, Format, StateDir, fail, open_desk, put_in_force, show_document
from executor.cli.times import show_time
from executor.errors import ExecutorError

if TYPE_CHECKING:
    from executor.installed.hooks import Switch
    from executor.installed.plugins import Installation
    from executor.store.records import InstalledPlugin

__all__ = ["install", "list_plugins", "package", "register", "remove", "show", "upgrade"]

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
PACKAGE_EXAMPLES = """
Examples:

  executor plugin package ./my_plugin                      makes my_plugin-0.0.1.difypkg

  executor plugin package ./my_plugin -o cat.difypkg       ... under another name

  executor plugin package ./my_plugin --sign key.pem       ... signed; key.pem holds a private RSA key

What .difyignore names, or else .gitignore, is left out; so are .git, .venv, .env, caches and other packages, always.
The same files give the same package, byte by byte, unless it is signed. Dify can install it as well.
"""

COLUMNS: Final = (
    Column("PLUGIN", text=True),
    Column("VERSION", text=True),
    Column("CHECKSUM", text=True),
    Column("HOOKS"),
    Column("SIGNED BY", text=True, needs=100, folds=True),
    Column("INSTALLED", text=True, needs=80),
)
SHORT_CHECKSUM: Final = 12

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
        document = _describe(desk, done.version) | {"fresh": done.fresh, "warnings": _warnings(done)}
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
    hint = f"its {len(served)} hooks stay with the versions that they have" if served else "it has no hook yet"
    typer.echo(f"{hint}; to {verb}: {command}")


def _install(desk: Desk, source: Path) -> Installation:
    from executor.installed.environments import build_environment
    from executor.installed.errors import InstalledError
    from executor.installed.plugins import read_package
    from executor.packages.errors import PackageError

    packages = desk.config.packages
    try:
        done = desk.plugins.install(read_package(source, packages.limits, require_signature=packages.require_signature))
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
        document = {"plugins": [_describe(desk, version) for version in desk.store.plugins.list()]}
    show_document(document, output, lambda width: _draw_list(document["plugins"], width))


def show(name: Name, *, config: ConfigFile = None, state_dir: StateDir = None, output: Format = "table") -> None:
    """Show one version."""
    from executor.installed.catalog import InstalledCatalog
    from executor.installed.versions import find_version

    with open_desk(config, state_dir) as desk:
        version = find_version(name, desk.store.plugins.list())
        plugin = InstalledCatalog(desk.config.state_dir).load(version)
        document = _describe(desk, version) | {
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
    show_document(document, output, lambda width: _draw_version(document, width))


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
        chosen = [hook for hook in desk.store.hooks.list(plugin_id=plugin_id) if not hooks or hook.hook_id in hooks]
        missing = set(hooks or ()) - {hook.hook_id for hook in chosen}
        if missing:
            fail(f"{plugin_id} has no hook {', '.join(sorted(missing))}")
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
    show_document(document, output, lambda _: _draw_switches(document, len(chosen)))


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


def package(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The plugin's folder.", show_default=False)],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The package.  (default: NAME-VERSION.difypkg)"),
    ] = None,
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="A private RSA key (PEM) to sign the package with.")
    ] = None,
) -> None:
    """Pack a folder."""
    from executor.packages.checksum import compute_checksum, format_identifier
    from executor.packages.pack import pack_folder
    from executor.packages.signature import load_private_key

    plugin = _load(folder)
    try:
        packed = pack_folder(folder, key=None if sign is None else load_private_key(sign))
        file = output or Path(f"{plugin.name}-{plugin.version}.difypkg")
        _write(file, packed.data)
    except ExecutorError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{output or '.'}: the package cannot be written: {error.strerror}")
    checksum = compute_checksum(packed.digests)
    identifier = format_identifier(author=plugin.author, name=plugin.name, version=plugin.version, checksum=checksum)
    signed = ", signed" if sign is not None else ""
    typer.echo(f"{printable(str(file))}: {len(packed.digests)} files, {human_bytes(len(packed.data))}{signed}")
    typer.echo(printable(identifier))


def _load(folder: Path) -> Plugin:
    """Read the plugin that is to be packed; end the command when it could not be served."""
    loaded = load_plugin(folder)
    if loaded.plugin is None:
        errors = [finding for finding in loaded.findings if finding.severity == "error"]
        fail(*(f"{folder}/{finding}" for finding in errors))
    return loaded.plugin


def _write(file: Path, data: bytes) -> None:
    """Write a file as a whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}-", delete=False) as half:
        try:
            half.write(data)
            half.flush()
            Path(half.name).chmod(0o644)
            Path(half.name).replace(file)
        except BaseException:
            Path(half.name).unlink(missing_ok=True)
            raise


def _describe(desk: Desk, version: InstalledPlugin) -> dict[str, Any]:
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
        "hooks": [
            hook.hook_id
            for hook in desk.store.hooks.list(plugin_id=version.plugin_id)
            if hook.active == version.identifier
        ],
    }


def _draw_list(plugins: list[dict[str, Any]], width: int) -> RenderableType:
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


def _draw_version(document: dict[str, Any], width: int) -> RenderableType:
    facts = [
        ("plugin", f"{document['author']}/{document['name']} {document['version']}"),
        ("label", document["label"] or None),
        ("identifier", document["identifier"]),
        ("signed by", document["signed_by"]),
        ("installed", show_time(document["installed_at"])),
        ("folder", document["folder"]),
        ("environment", document["environment"] or document["environment_problem"] or "that of the executor"),
        ("hooks", ", ".join(document["hooks"]) or None),
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
        draw_table(setting_columns, settings, width) if settings else cell("no settings", "dim"),
        draw_table([Column("METHOD", text=True), Column("PATH", text=True, folds=True)], endpoints, width),
    )


def _need(setting: dict[str, Any]) -> Any:
    if setting["default"] is not None:
        return cell(f"default: {setting['default']}")
    return cell("required" if setting["required"] else "optional")


def _draw_switches(document: dict[str, Any], chosen: int) -> RenderableType:
    if not document["hooks"]:
        return cell("there is no hook to switch" if not chosen else "the hooks are served by this version already")
    lines = [cell(f"hook {one['hook_id']}: {one['from']} -> {one['to']}") for one in document["hooks"]]
    where = ", ".join(document["services"])
    return Group(*lines, cell(f"in force at {where}" if where else "in force when a service is started", "dim"))

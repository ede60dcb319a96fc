"""`executor hook`: make, list, change and remove hooks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer
from pydantic import TypeAdapter, ValidationError

from executor.cli.desk import Desk, open_desk, put_in_force, tell_where
from executor.cli.hook_removal import REMOVE_EXAMPLES, remove
from executor.cli.hooks import describe_hook, describe_hooks, draw_hook, draw_hooks
from executor.cli.opening import ConfigFile, StateDir
from executor.cli.showing import Format, show_document
from executor.cli.values import (
    FromEnvironment,
    FromFiles,
    Given,
    NoInput,
    Set,
    SettingsFile,
    ask_values,
    read_values,
)
from executor.config.texts import HookId
from executor.installed.errors import InstalledError

if TYPE_CHECKING:
    from executor.installed.hooks import Switch
    from executor.store.records import StoredHook

__all__ = ["create", "disable", "enable", "list_hooks", "register", "rotate", "set_values", "show"]

VALUES = """
Values are given by --set, --from-env, --from-file and --settings-file, or asked for in a terminal, with the labels that
the plugin declares. A secret is never taken from the command line, which others can read.
"""
CREATE_EXAMPLES = f"""
Examples:

  executor hook create cat                                      asks for the values of the plugin's settings

  executor hook create cat --set colour=red --from-env token=CAT_TOKEN

  executor hook create cat --settings-file settings.yaml        a map from names to values

  pass show cat | executor hook create cat --from-file token=-  a secret from another program

  executor hook create tester/cat:0.0.1 --id my-cat             a certain version; an id of choice

{VALUES}
The id is all that protects a hook from strangers, so it is one that cannot be guessed unless --id is given. A running
service serves the hook when the command has ended.
"""
LIST_EXAMPLES = """
Examples:

  executor hook list

  executor hook list --plugin cat --format json | jq -r '.hooks[].urls[]'
"""
SHOW_EXAMPLES = """
Examples:

  executor hook show 4fxhq2d1m9ab7cde

  executor hook show 4fxhq2d1m9ab7cde --format json | jq .settings

Secrets are masked. What is shown may be given to `executor hook set --settings-file`: a secret that is masked there
stays as it is.
"""
SET_EXAMPLES = f"""
Examples:

  executor hook set 4fxhq2d1m9ab7cde --set colour=blue

  executor hook set 4fxhq2d1m9ab7cde --unset colour             back to the default

  executor hook set 4fxhq2d1m9ab7cde --from-file token=token.txt

  executor hook set 4fxhq2d1m9ab7cde                            asks for each value; Enter leaves it as it is

  executor hook set 4fxhq2d1m9ab7cde --version 0.0.2 --set new_setting=1

{VALUES}
Other values stay as they are. Requests that run go on with the values that they began with.
"""
ROTATE_EXAMPLES = """
Examples:

  executor hook rotate 4fxhq2d1m9ab7cde                         a new id; the old one is answered with 404

  executor hook rotate 4fxhq2d1m9ab7cde --format json | jq -r .hook_id
"""

NOTHING: Final = (
    "there is nothing to change; give --set, --from-env, --from-file, --settings-file, --unset or --version"
)
HookArgument = Annotated[str, typer.Argument(metavar="HOOK", help="The hook's id.", show_default=False)]
HooksArgument = Annotated[list[str], typer.Argument(metavar="HOOK", help="Ids of hooks.", show_default=False)]


def register(app: typer.Typer, about: str) -> None:
    """Add the commands to the program."""
    group = typer.Typer(name="hook", no_args_is_help=True, help=about)
    add = group.command
    add("create", help="Make a hook: an address at which a plugin is served.", epilog=CREATE_EXAMPLES)(create)
    add("list", help="List the hooks.", epilog=LIST_EXAMPLES)(list_hooks)
    add("show", help="Show a hook: its addresses and its settings, secrets masked.", epilog=SHOW_EXAMPLES)(show)
    add("set", help="Change values of a hook's settings, or its version.", epilog=SET_EXAMPLES)(set_values)
    add("enable", help="Serve hooks again.")(enable)
    add("disable", help="Answer 404 for hooks, and keep them.")(disable)
    add("rotate", help="Give a hook a new id.", epilog=ROTATE_EXAMPLES)(rotate)
    add("remove", help="Remove hooks, with what they alone have stored.", epilog=REMOVE_EXAMPLES)(remove)
    app.add_typer(group)


def create(
    name: Annotated[
        str, typer.Argument(metavar="PLUGIN", help="cat, tester/cat or tester/cat:0.0.1.", show_default=False)
    ],
    *,
    hook_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The hook's id. (default: one that cannot be guessed)")
    ] = None,
    plain: Set = None,
    environment: FromEnvironment = None,
    files: FromFiles = None,
    document: SettingsFile = None,
    tenant: Annotated[str, typer.Option(metavar="TENANT", help="Whose hook it is.")] = "default",
    disabled: Annotated[bool, typer.Option("--disabled", help="Do not serve it yet.")] = False,
    no_input: NoInput = False,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    output: Format = "table",
) -> None:
    """Make a hook."""
    from executor.installed.catalog import InstalledCatalog
    from executor.installed.versions import find_version

    given = Given(plain or (), environment or (), files or (), document)
    with open_desk(config, state_dir) as desk:
        _check_ids(hook_id, tenant)
        version = find_version(name, desk.store.plugins.list())
        plugin = InstalledCatalog(desk.config.state_dir).load(version)
        values = read_values(plugin, given)
        if sys.stdin.isatty() and not no_input:
            values |= ask_values([one for one in plugin.settings if one.name not in values], {})
        hook = desk.hooks.create(version, values, hook_id=hook_id, tenant_id=tenant, enabled=not disabled)
        _finish(desk, [hook], lambda: _forget(desk, hook))
        _show(desk, hook, output)


def list_hooks(
    *,
    plugin: Annotated[
        str | None, typer.Option(metavar="PLUGIN", help="Only hooks of this plugin, or of a version of it.")
    ] = None,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    output: Format = "table",
) -> None:
    """List hooks."""
    with open_desk(config, state_dir) as desk:
        hooks = desk.store.hooks.list() if plugin is None else desk.hooks.find(plugin)
        documents = describe_hooks(desk, hooks)
    show_document({"hooks": documents}, output, lambda width: draw_hooks(documents, width))


def show(
    hook: HookArgument, *, config: ConfigFile = None, state_dir: StateDir = None, output: Format = "table"
) -> None:
    """Show a hook."""
    with open_desk(config, state_dir) as desk:
        _show(desk, desk.hooks.get(hook), output)


def set_values(
    hook: HookArgument,
    *,
    plain: Set = None,
    environment: FromEnvironment = None,
    files: FromFiles = None,
    document: SettingsFile = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="NAME", help="Take a value away; its default holds then.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="VERSION", help="Have it served by this installed version.")
    ] = None,
    no_input: NoInput = False,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    output: Format = "table",
) -> None:
    """Change a hook."""
    from executor.installed.catalog import InstalledCatalog
    from executor.installed.hooks import Change
    from executor.installed.versions import find_version

    given = Given(plain or (), environment or (), files or (), document)
    with open_desk(config, state_dir) as desk:
        found = desk.hooks.get(hook)
        target = None
        if version is not None:
            wanted = version if "/" in version else f"{found.plugin_id}:{version}"
            try:
                target = find_version(wanted, desk.store.plugins.list())
            except InstalledError as error:
                raise InstalledError(f"--version {version}: {error}") from error
        serving = target or desk.hooks.version_of(found.active)
        plugin = InstalledCatalog(desk.config.state_dir).load(serving)
        values = read_values(plugin, given)
        if not (given.anything or unset or version):
            if no_input or not sys.stdin.isatty():
                raise InstalledError(NOTHING)
            values = ask_values(plugin.settings, desk.hooks.values_of(found)[0])
        switch = desk.hooks.change(hook, Change(values=values, unset=unset or (), version=target))
        _finish(desk, [switch.after], lambda: desk.hooks.undo(switch))
        _show(desk, switch.after, output)


def enable(
    hooks: HooksArgument, *, config: ConfigFile = None, state_dir: StateDir = None, output: Format = "table"
) -> None:
    """Serve hooks."""
    _enable(hooks, config, state_dir, output, enabled=True)


def disable(
    hooks: HooksArgument, *, config: ConfigFile = None, state_dir: StateDir = None, output: Format = "table"
) -> None:
    """Do not serve hooks."""
    _enable(hooks, config, state_dir, output, enabled=False)


def rotate(
    hook: HookArgument,
    *,
    new_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The new id. (default: one that cannot be guessed)")
    ] = None,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    output: Format = "table",
) -> None:
    """Give a hook a new id."""
    with open_desk(config, state_dir) as desk:
        _check_ids(new_id, "default")
        switch = desk.hooks.rotate(hook, new_id)
        _finish(desk, [switch.after], lambda: desk.hooks.undo(switch))
        _show(desk, switch.after, output)


def _enable(hooks: Sequence[str], config: ConfigFile, state_dir: StateDir, output: Format, *, enabled: bool) -> None:
    with open_desk(config, state_dir) as desk:
        for hook in hooks:
            desk.hooks.get(hook)
        switches = [desk.hooks.enable(hook, enabled=enabled) for hook in hooks]
        _finish(desk, [one.after for one in switches], lambda: _undo(desk, switches))
        documents = describe_hooks(desk, [one.after for one in switches])
    show_document({"hooks": documents}, output, lambda width: draw_hooks(documents, width))


def _forget(desk: Desk, hook: StoredHook) -> None:
    desk.hooks.remove(hook.hook_id)


def _undo(desk: Desk, switches: Sequence[Switch]) -> None:
    for switch in switches:
        desk.hooks.undo(switch)


def _finish(desk: Desk, hooks: Sequence[StoredHook], undo: Callable[[], None]) -> None:
    """Put a change in force, and say where it is."""
    services = put_in_force(desk.config.state_dir, [hook.hook_id for hook in hooks], undo)
    print(tell_where(services), file=sys.stderr)


def _check_ids(hook_id: str | None, tenant_id: str) -> None:
    """Refuse ids that no hook can have."""
    for what, given in (("--id", hook_id), ("--tenant", tenant_id)):
        try:
            TypeAdapter(HookId).validate_python("default" if given is None else given)
        except ValidationError as error:
            raise InstalledError(f"{what}: {error.errors()[0]['msg']}") from None


def _show(desk: Desk, hook: StoredHook, output: Format) -> None:
    document = describe_hook(desk, hook)
    show_document(document, output, lambda width: draw_hook(document, width))

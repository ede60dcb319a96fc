"""`executor hook remove`: hooks by their ids, or all of a plugin."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from executor.cli.desk import open_desk, put_in_force, tell_where
from executor.cli.opening import ConfigFile, StateDir
from executor.cli.telling import confirm, fail
from executor.errors import name_some, number_of

__all__ = ["REMOVE_EXAMPLES", "remove"]

REMOVE_EXAMPLES: Final = """
Examples:

  executor hook remove 4fxhq2d1m9ab7cde        one hook, or several

  executor hook remove --plugin cat            all hooks of a plugin; asks first

  executor hook remove --plugin cat:0.0.1 --yes    all that this version serves; does not ask

What a hook has stored for itself goes with it; what the plugin has stored for all its hooks stays, see `executor store
clear`. Requests that run go on to their end; later ones are answered with 404.
"""


def remove(
    hooks: Annotated[list[str] | None, typer.Argument(metavar="HOOK", help="Ids of hooks.", show_default=False)] = None,
    *,
    plugin: Annotated[
        str | None, typer.Option(metavar="PLUGIN", help="All hooks of this plugin, or of a version of it.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> None:
    """Remove hooks."""
    if bool(hooks) == (plugin is not None):
        fail("give ids of hooks, or a plugin with --plugin" + (", and not both" if hooks else ""), status=2)
    with open_desk(config, state_dir) as desk:
        if plugin is None:
            chosen = list(dict.fromkeys(hooks or ()))
            for hook in chosen:
                desk.hooks.get(hook)
        else:
            chosen = [hook.hook_id for hook in desk.hooks.find(plugin)]
            if not chosen:
                fail(f"{plugin} has no hook, so there is nothing to remove; see `executor hook list`")
            if not yes:
                count = number_of(len(chosen), "hook")
                confirm(f"Remove {count} of {plugin} ({name_some(chosen)}), with what they alone have stored?")
        desk.hooks.remove_all(chosen)
        services = put_in_force(desk.config.state_dir, (), lambda: None)
    if plugin is None:
        for hook in chosen:
            typer.echo(f"removed hook {hook}")
    else:
        typer.echo(f"removed {number_of(len(chosen), 'hook')} of {plugin}: {name_some(chosen)}")
    print(tell_where(services), file=sys.stderr)

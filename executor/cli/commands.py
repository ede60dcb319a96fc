"""Which commands there are. The module of a command is imported when the command is used, not before.

What one command needs would otherwise be imported for each of them: that took most of the time of `executor ps`.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from executor.cli.examples import lay_out

__all__ = ["ABOUT", "CommandGroup", "load_command"]

ABOUT: Final = {
    "init": "Begin a new plugin, which can be served at once.",
    "dev": "Serve a plugin while you write it: every change is served at once.",
    "serve": "Serve the endpoints of Dify plugins over HTTP.",
    "call": "Run one endpoint in a sandboxed worker, without a server.",
    "check": "Find every mistake in plugins, with file, line and column.",
    "limits": "Show the limits of a hook: values, where they come from, what enforces them.",
    "doctor": "Show what isolation this host gives, and what to do about what is missing.",
    "ps": "List the live workers: what runs now, for whom, since when, at what cost.",
    "stats": "Show what finished invocations have cost: counts, times, CPU, memory.",
    "plugin": "Install, list, upgrade and remove plugins; make packages of them.",
    "hook": "Make, list, change and remove hooks of installed plugins.",
    "function": "List and remove what a Dify daemon has launched here.",
    "environment": "List, build and remove the environments of plugins.",
    "config": "Show, check and document the configuration.",
    "store": "The database of plugins, hooks and plugin storage.",
    "secrets": "Keys for the secret settings of hooks.",
}
"""What each command is for, in the order of the help. The module of this package with a command's name makes it."""


def load_command(name: str) -> Any:
    """Import a command, or a group of commands; for click.

    Args:
        name: One of `ABOUT`.
    """
    app = typer.Typer()
    app.callback()(_no_options)  # so that typer makes a group of it, be it of one command
    importlib.import_module(f"executor.cli.{name}").register(app, ABOUT[name])
    group: Any = typer.main.get_command(app)
    command = group.commands[name]
    for one in (command, *getattr(command, "commands", {}).values()):
        one.epilog = lay_out(one.epilog or "")
        _hide_types(one)
    return command


class CommandGroup(TyperGroup):
    """The commands at the top."""

    def __init__(self, **attributes: Any) -> None:
        commands = {name: _LaterCommand(name, help=about) for name, about in ABOUT.items()}
        super().__init__(**{**attributes, "commands": commands})
        _hide_types(self)


class _LaterCommand(TyperCommand):
    """A command of which the help of the group shows name and purpose; when it is used, the real one is."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Have the real command read its arguments. What click does next, it does with the command of the context."""
        return load_command(str(self.name)).make_context(info_name, args, parent, **extra)


def _hide_types(command: Any) -> None:
    """Leave types of Python out of a help text: `--yes <bool>` looks as if it took a value."""
    get_params = command.get_params

    def named(context: Any) -> Any:
        parameters = get_params(context)
        for one in parameters:
            if one.param_type_name == "argument" or getattr(one, "is_flag", False):
                one.display_type_rich = _no_type
        return parameters

    command.get_params = named


def _no_type(ctx: Any) -> None:
    """Show nothing."""


def _no_options() -> None:
    """Take the options before a command: there are none."""

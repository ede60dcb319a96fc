"""What the commands for authors have in common: opening a plugin's folder, and asking for settings."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NoReturn

import typer

from executor.authoring.project import LOCAL_SETTINGS, MissingSettingsError, Options, Project, open_project
from executor.catalog.settings import Setting, SettingType
from executor.cli.asking import printable_lines
from executor.config.places import ConfigError

__all__ = ["ask_settings", "fail", "open_or_ask"]

ASKABLE: Final = frozenset({SettingType.SECRET_INPUT, SettingType.TEXT_INPUT, SettingType.SELECT, SettingType.BOOLEAN})
"""Types whose values can be typed in."""


def fail(problem: str, *, status: int = 1) -> NoReturn:
    """Print a problem and end the command."""
    print(f"error: {printable_lines(problem)}", file=sys.stderr)
    raise typer.Exit(status)


def open_or_ask(options: Options, *, may_ask: bool = True) -> Project:
    """Read a plugin; on a terminal, ask for the settings that are missing; end the command when it cannot be run.

    Args:
        options: Of the command line.
        may_ask: Whether standard input is free for answers.
    """
    try:
        return open_project(options)
    except MissingSettingsError as error:
        if may_ask and _somebody_is_there() and all(setting.type in ASKABLE for setting in error.settings):
            return open_or_ask(replace(options, answers=ask_settings(error.settings)), may_ask=False)
        problems = error.problems
    except ConfigError as error:
        problems = error.problems
    for problem in problems:
        print(f"error: {printable_lines(str(problem))}", file=sys.stderr)
    raise typer.Exit(1)


def ask_settings(settings: Iterable[Setting]) -> dict[str, str]:
    """Ask for values on the terminal; secrets are not shown."""
    print(f"The plugin needs settings; {LOCAL_SETTINGS} in its folder can keep them.", file=sys.stderr)
    return {setting.name: _ask(setting) for setting in settings}


def _ask(setting: Setting) -> str:
    label = str(setting.label) or setting.name
    explanation = str(setting.help)
    if explanation:
        print(f"  {printable_lines(explanation)}", file=sys.stderr)
    choices = [option.value for option in setting.options]
    if setting.type is SettingType.BOOLEAN:
        choices = ["true", "false"]
    question = f"{label} ({setting.name}{': ' + ', '.join(choices) if choices else ''})"
    while True:
        answer: str = typer.prompt(printable_lines(question), hide_input=setting.secret, err=True)
        if not choices or answer in choices:
            return answer
        print(f"  one of {printable_lines(', '.join(choices))}", file=sys.stderr)


def _somebody_is_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()

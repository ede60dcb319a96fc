"""What the commands for authors have in common: their options, opening a plugin's folder, asking for settings."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from executor.authoring.project import LOCAL_SETTINGS, MissingSettingsError, Options, Project, open_project
from executor.catalog.settings import Setting, SettingType
from executor.cli.telling import fail, printable_lines
from executor.config.instance import default_state_dir
from executor.config.places import ConfigError

__all__ = [
    "ConfigFile",
    "ConfiguredHook",
    "Environment",
    "Fixtures",
    "GivenLimits",
    "Settings",
    "SettingsFile",
    "StateDir",
    "answer_missing",
    "author_state_dir",
    "open_or_ask",
]

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A value for a setting, or NAME:=JSON; may be repeated."),
]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings-file", metavar="FILE", help="Values for settings (YAML).")
]
GivenLimits = Annotated[
    list[str] | None, typer.Option("--limit", metavar="NAME=VALUE", help="A limit; may be repeated.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Configuration file (YAML), for limits and the like.")
]
ConfiguredHook = Annotated[str, typer.Option("--hook", metavar="HOOK", help="The hook's id in the configuration.")]
Environment = Annotated[
    str | None,
    typer.Option(
        "--environment",
        metavar="own|shared|DIR",
        help="What workers import from: `own`, built of what the plugin requires; `shared`, the executor's, with the "
        "bundled SDK; or a virtual environment that is there. (default: own, if it requires more than the SDK)",
    ),
]
Fixtures = Annotated[
    Path | None,
    typer.Option(
        "--fixtures", metavar="FILE", help="Answer calls back to Dify from this file (docs/reverse-calls.md)."
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="Folder for state. (default: dev, in that of the service)"),
]

ASKABLE: Final = frozenset({SettingType.SECRET_INPUT, SettingType.TEXT_INPUT, SettingType.SELECT, SettingType.BOOLEAN})
"""Types whose values can be typed in."""


def author_state_dir(given: Path | None) -> Path:
    """Tell where the state of an author's work is: apart from that of a service, whose storage is not for trying.

    Args:
        given: What the command line says.
    """
    return given or default_state_dir() / "dev"


def open_or_ask(options: Options, *, may_ask: bool = True) -> Project:
    """Read a plugin; on a terminal, ask for the settings that are missing; end the command when it cannot be run.

    Args:
        options: Of the command line.
        may_ask: Whether standard input is free for answers.
    """
    try:
        return open_project(options)
    except MissingSettingsError as error:
        answered = answer_missing(options, error) if may_ask else None
        if answered is None:
            fail(*map(str, error.problems))
        return open_or_ask(answered, may_ask=False)
    except ConfigError as error:
        fail(*map(str, error.problems))


def answer_missing(options: Options, error: MissingSettingsError) -> Options | None:
    """Ask for the settings that are missing, secrets unseen; `None` where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or any(one.type not in ASKABLE for one in error.settings):
        return None
    print(f"The plugin needs settings; {LOCAL_SETTINGS} in its folder can keep them.", file=sys.stderr)
    return replace(options, answers={setting.name: _ask(setting) for setting in error.settings})


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

"""Values of a hook's settings from the command line: options, files, standard input, and questions in a terminal.

Whoever may look at the processes of a machine sees the command line of each, and shells keep it. So no secret is taken
from it: it comes from a file, a variable of the environment, standard input, or a question whose answer is not shown.
"""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic_core import PydanticCustomError

from executor.catalog.plugin import Plugin
from executor.catalog.settings import Setting, SettingType, ValueRefusedError, check_value
from executor.cli.telling import printable_lines
from executor.config.document import parse_document, read_document
from executor.config.places import Source
from executor.config.references import FromEnv, FromFile, ResolveError, read_value, resolve
from executor.installed.errors import SettingsRefusedError
from executor.installed.values import secret_names

__all__ = ["FromEnvironment", "FromFiles", "Given", "NoInput", "Set", "SettingsFile", "ask_values", "read_values"]

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A value that is not secret; NAME:=JSON for a map or list."),
]
FromEnvironment = Annotated[
    list[str] | None,
    typer.Option("--from-env", metavar="NAME=VARIABLE", help="A value from a variable of the environment."),
]
FromFiles = Annotated[
    list[str] | None,
    typer.Option("--from-file", metavar="NAME=PATH", help="A value from a file; - is standard input."),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings-file", metavar="FILE", help="Values from a map in a YAML or JSON file; - is standard input."
    ),
]
NoInput = Annotated[bool, typer.Option("--no-input", help="Ask nothing, although there is a terminal.")]

STDIN: Final = "-"
MAX_STDIN: Final = 1024 * 1024
STRUCTURED: Final = (SettingType.APP_SELECTOR, SettingType.MODEL_SELECTOR, SettingType.TOOLS)
"""Types whose values are maps or lists."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line says about values.

    Attributes:
        plain: Texts of `--set`.
        environment: Texts of `--from-env`.
        files: Texts of `--from-file`.
        document: Of `--settings-file`.
    """

    plain: Sequence[str] = ()
    environment: Sequence[str] = ()
    files: Sequence[str] = ()
    document: Path | None = None

    @property
    def anything(self) -> bool:
        """Whether there is anything."""
        return bool(self.plain or self.environment or self.files or self.document)


def read_values(plugin: Plugin, given: Given) -> dict[str, object]:
    """Read all values. Secret.

    Raises:
        SettingsRefusedError: Something cannot be read, or must not stand where it does; all of it at once.
        ConfigError: The document is not a map.
    """
    reader = _Reader(plugin)
    if given.document is not None:
        reader.take_document(given.document)
    for text in given.environment:
        reader.take(text, "--from-env", "NAME=VARIABLE", FromEnv)
    for text in given.files:
        reader.take(text, "--from-file", "NAME=PATH", FromFile)
    for text in given.plain:
        reader.take_plain(text)
    if reader.problems:
        raise SettingsRefusedError(reader.problems)
    return reader.values


class _Reader:
    """Collects values and problems."""

    def __init__(self, plugin: Plugin) -> None:
        self._secret = secret_names(plugin)
        self._stdin_taken = False
        self.values: dict[str, object] = {}
        self.problems: list[str] = []

    def take_document(self, file: Path) -> None:
        """Take a map of values; they may be references, relative to the file's folder."""
        source = self._parse_stdin() if str(file) == STDIN else read_document(file)
        base = Path.cwd() if str(file) == STDIN else file.absolute().parent
        self.problems += [str(problem) for problem in source.problems]
        for name, value in source.data.items():
            try:
                self.values[name] = resolve(read_value(value), base)
            except ResolveError as error:
                self.problems.append(f"{source.locate((name,))}: setting {name}: {error}")
            except PydanticCustomError as error:
                expected = (error.context or {}).get("expected")
                self.problems.append(f"{source.locate((name,))}: setting {name}: expected {expected}")

    def take(self, text: str, option: str, form: str, kind: type[FromEnv | FromFile]) -> None:
        """Take a value from where an option says that it is."""
        name, found, place = text.partition("=")
        if not (name and found and place):
            self.problems.append(f"{option}: expected {form}")
            return
        try:
            if kind is FromFile and place == STDIN:
                self.values[name] = self._read_stdin().decode().removesuffix("\n").removesuffix("\r")
            else:
                self.values[name] = kind(place).resolve(Path.cwd())
        except (ResolveError, UnicodeDecodeError) as error:
            problem = error if isinstance(error, ResolveError) else "standard input is not text in UTF-8"
            self.problems.append(f"setting {name}: {problem}")

    def take_plain(self, text: str) -> None:
        """Take a value from the command line itself."""
        name, found, value = text.partition("=")
        is_json = name.endswith(":")
        name = name.removesuffix(":")
        if not (name and found):
            self.problems.append("--set: expected NAME=VALUE, or NAME:=JSON")
        elif name in self._secret:
            self.problems.append(
                f"setting {name}: it is secret, and others can read the command line; give it with --from-env "
                f"{name}=VARIABLE, --from-file {name}=PATH or --settings-file FILE, or let the command ask for it"
            )
        elif is_json:
            try:
                self.values[name] = json.loads(value)
            except (ValueError, RecursionError):
                self.problems.append(f"setting {name}: the value after := is not JSON")
        else:
            self.values[name] = value

    def _parse_stdin(self) -> Source:
        return parse_document(self._read_stdin())

    def _read_stdin(self) -> bytes:
        if self._stdin_taken:
            self.problems.append("standard input can be used for one value, or for --settings-file, and not again")
            return b""
        self._stdin_taken = True
        return sys.stdin.buffer.read(MAX_STDIN)


def ask_values(settings: Sequence[Setting], known: Mapping[str, object]) -> dict[str, object]:
    """Ask for values, a question each, with what the plugin says about it. Secret.

    Args:
        settings: What to ask for.
        known: What holds if nothing is answered, by name; secrets are only said to be there.
    """
    answers: dict[str, object] = {}
    for setting in settings:
        present = known.get(setting.name, setting.default)
        _explain(setting, present)
        answer = _ask(setting, present)
        if answer is not None:
            answers[setting.name] = answer
    return answers


def _explain(setting: Setting, present: object) -> None:
    label = str(setting.label) or setting.name
    need = "required" if setting.required and present is None else "Enter for none" if present is None else ""
    typer.secho(printable_lines(f"\n{label}") + (f"  ({need})" if need else ""), bold=True)
    for text in (str(setting.help), setting.url):
        if text:
            typer.secho(printable_lines(text), dim=True)
    for option in setting.options:
        typer.echo(printable_lines(f"  {option.value}" + (f"  {option.label}" if str(option.label) else "")))


def _ask(setting: Setting, present: object) -> object:
    """Ask until the answer fits; `None` when it was left empty and may be."""
    while True:
        text = _read_line(setting, present)
        if not text and (present is not None or not setting.required):
            return None
        if not text:
            typer.secho("the plugin requires an answer", fg="red")
            continue
        try:
            return check_value(setting, json.loads(text) if setting.type in STRUCTURED else text)
        except ValueRefusedError as error:
            typer.secho(printable_lines(f"expected {error.expected}"), fg="red")
        except (ValueError, RecursionError):
            typer.secho("expected JSON", fg="red")


def _read_line(setting: Setting, present: object) -> str:
    hint = str(setting.placeholder)
    if present is not None:
        hint = "unchanged" if setting.secret else json.dumps(present) if setting.type in STRUCTURED else _text(present)
    prompt = printable_lines(f"{setting.name}{' (JSON)' if setting.type in STRUCTURED else ''}")
    prompt += f" [{printable_lines(hint)}]: " if hint else ": "
    if setting.secret:
        return getpass.getpass(prompt)
    return input(prompt)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

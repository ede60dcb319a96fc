"""Single settings that are secret: keys, and addresses with a password in them.

Such a setting is a text, or says where the text is: `{from_env: NAME}`, `{from_file: PATH}`, or `{from_command: [...]}`
for a program that prints it. It is fetched when it is needed, not when the configuration is read, and never shown.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import PydanticCustomError, core_schema

from executor.config.references import FromEnv, FromFile, ResolveError, show_value

__all__ = ["Confidential", "FromCommand"]

COMMAND_TIME_S: Final = 30
MAX_OUTPUT_BYTES: Final = 65_536
MAX_ARGUMENTS: Final = 100


@dataclass(frozen=True, slots=True)
class FromCommand:
    """The value is what a program prints, in UTF-8, without one line end at its end. No shell reads it."""

    arguments: tuple[str, ...]

    def resolve(self, base: Path) -> str:
        """Run the program in `base`.

        Raises:
            ResolveError: It cannot be run, fails, takes too long, or prints too much or no text.
        """
        shown = shlex.join(self.arguments)
        expected = f"a program that prints at most {MAX_OUTPUT_BYTES} bytes of text"
        try:
            done = subprocess.run(
                self.arguments,
                cwd=base,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_TIME_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            found = f"no end within {COMMAND_TIME_S} s" if isinstance(error, subprocess.TimeoutExpired) else str(error)
            raise ResolveError(f"cannot run `{shown}`: {found}", expected=expected, found=found) from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            found = f"exit status {done.returncode}" + "".join(f" ({line[:200]})" for line in said)
            raise ResolveError(f"`{shown}` failed: {found}", expected=expected, found=found)
        try:
            text = done.stdout.decode() if len(done.stdout) <= MAX_OUTPUT_BYTES else None
        except UnicodeDecodeError:
            text = None
        if text is None:
            message = f"`{shown}` must print text in UTF-8, of at most {MAX_OUTPUT_BYTES} bytes"
            raise ResolveError(message, expected=expected, found="something else")
        return text.removesuffix("\n").removesuffix("\r")


Given = str | FromEnv | FromFile | FromCommand


@dataclass(frozen=True, slots=True)
class Confidential:
    """A secret, or where it is.

    Attributes:
        given: The text, or a reference. Not shown.
        base: Folder where relative paths start.
    """

    given: Given = field(repr=False)
    base: Path = field(default_factory=Path.cwd, compare=False)

    @property
    def plain(self) -> bool:
        """Whether the secret itself stands in the configuration."""
        return isinstance(self.given, str)

    def reveal(self) -> str:
        """Fetch the secret; it is read anew each time.

        Raises:
            ResolveError: There is none where it should be, or it is empty.
        """
        if isinstance(self.given, str):
            return self.given
        text = self.given.resolve(self.base)
        if not text:
            raise ResolveError(f"{self.source} is empty", expected="a text", found="nothing")
        return text

    @property
    def source(self) -> str:
        """Where the secret comes from, for messages."""
        match self.given:
            case FromEnv(name):
                return f"the environment variable {name}"
            case FromFile():
                return f"the file {self.given.absolute(self.base).path}"
            case FromCommand(arguments):
                return f"the output of `{shlex.join(arguments)}`"
        return "the configuration"

    def show(self) -> object:
        """Write a reference as it is given; `None` for a secret that stands in the configuration."""
        match self.given:
            case str():
                return None
            case FromCommand(arguments):
                return {"from_command": list(arguments)}
            case FromFile():
                return show_value(self.given.absolute(self.base))
        return show_value(self.given)

    @classmethod
    def __get_pydantic_core_schema__(cls, _: type[Any], __: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Tell pydantic how to read and write the field."""
        shown = core_schema.plain_serializer_function_ser_schema(cls.show, when_used="json")
        return core_schema.with_info_plain_validator_function(_read, serialization=shown)

    @classmethod
    def __get_pydantic_json_schema__(cls, _: core_schema.CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the field to editors."""
        text = {"type": "string", "minLength": 1}
        words = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_ARGUMENTS}
        kinds = {"from_env": text, "from_file": text, "from_command": words}
        maps = [
            {"type": "object", "properties": {name: kind}, "required": [name], "additionalProperties": False}
            for name, kind in kinds.items()
        ]
        return {"anyOf": [text, *maps]}


def _read(value: object, info: ValidationInfo) -> Confidential:
    given = value.given if isinstance(value, Confidential) else _parse(value)
    if given is None:
        expected = "a text, {from_env: NAME}, {from_file: PATH} or {from_command: [PROGRAM, ARGUMENT...]}"
        raise PydanticCustomError("confidential", "expected {expected}", {"expected": expected})
    return Confidential(given, (info.context or {}).get("base") or Path.cwd())


def _parse(value: object) -> Given | None:
    if isinstance(value, str):
        return value or None
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    ((kind, target),) = value.items()
    if kind == "from_command":
        return _parse_command(target)
    if kind not in {"from_env", "from_file"} or not isinstance(target, str) or not target or "\0" in target:
        return None
    return FromEnv(target) if kind == "from_env" else FromFile(target)


def _parse_command(target: object) -> FromCommand | None:
    if not isinstance(target, list) or not 0 < len(target) <= MAX_ARGUMENTS:
        return None
    if not all(isinstance(word, str) and "\0" not in word for word in target) or not target[0]:
        return None
    return FromCommand(tuple(target))

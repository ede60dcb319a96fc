"""Secrets that the configuration names: never the secret itself, always where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from executor.config.references import FromEnv, FromFile, ResolveError, read_value, show_value

__all__ = ["Secret", "SecretPlace", "read_secret"]

SecretPlace = FromEnv | FromFile

EXPECTED: Final = "{from_env: NAME} or {from_file: PATH}; a secret does not belong into the configuration itself"


def _place(value: object, info: ValidationInfo) -> SecretPlace:
    """Take a reference; a relative path starts at the configuration's folder."""
    given = read_value(value)
    if isinstance(given, FromFile):
        return given.absolute((info.context or {}).get("base") or Path.cwd())
    if isinstance(given, FromEnv):
        return given
    raise PydanticCustomError("secret", "expected {expected}", {"expected": EXPECTED})


Secret = Annotated[
    SecretPlace,
    BeforeValidator(_place),
    PlainSerializer(show_value, when_used="json"),
    WithJsonSchema(
        {
            "type": "object",
            "description": "{from_env: NAME} or {from_file: PATH}.",
            "properties": {"from_env": {"type": "string"}, "from_file": {"type": "string"}},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
    ),
]
"""Where a secret is to be read."""


def read_secret(place: SecretPlace) -> str:
    """Read a secret, without white space around it.

    Raises:
        ResolveError: It is not where it should be, is empty, or could not be sent in a header.
    """
    text = place.resolve(Path("/")).strip()
    if not text or not text.isascii() or not text.isprintable():
        found = "nothing" if not text else "other characters"
        message = f"the secret in {_name(place)} has to be printable ASCII, and is {found if not text else 'not'}"
        raise ResolveError(message, expected="a secret of printable ASCII characters", found=found)
    return text


def _name(place: SecretPlace) -> str:
    return place.name if isinstance(place, FromEnv) else place.path

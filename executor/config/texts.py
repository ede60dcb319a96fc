"""Text values of the configuration: hosts, networks, hook ids, origins, paths; each with what is expected."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, core_schema

__all__ = ["FilePath", "HookId", "HostName", "Network", "NonEmpty", "Origin", "Text", "make_path"]

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOOK_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Text:
    """Metadata of a pydantic field that is written as a text.

    Attributes:
        parse: Returns what the field holds; `None`, or a `ValueError`, when the text is not right.
        expectation: What is accepted, for messages and documentation.
        choices: All texts that are accepted; empty when they cannot be listed.
    """

    parse: Callable[[str], object]
    expectation: str
    choices: tuple[str, ...] = ()

    def check(self, value: object) -> object:
        """Read one value.

        Raises:
            PydanticCustomError: It is not right; its context holds `expected`.
        """
        try:
            result = self.parse(value) if isinstance(value, str) else None
        except ValueError:
            result = None
        if result is None:
            listed = f", one of {', '.join(self.choices)}" if self.choices else ""
            raise PydanticCustomError("text", "expected {expected}", {"expected": self.expectation + listed})
        return result

    def __get_pydantic_core_schema__(self, _: type[Any], __: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Tell pydantic how to read, check and write the field."""
        shown = core_schema.plain_serializer_function_ser_schema(str, when_used="json")
        return core_schema.no_info_plain_validator_function(self.check, serialization=shown)

    def __get_pydantic_json_schema__(self, _: core_schema.CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the field to editors."""
        return {"type": "string", "enum": list(self.choices)} if self.choices else {"type": "string"}


def _host(text: str) -> str | None:
    if ":" in text:
        return str(ipaddress.IPv6Address(text))
    return text if _HOST.fullmatch(text) else None


def _origin(text: str) -> str | None:
    parts = urlsplit(text)
    whole = parts.scheme in {"http", "https"} and parts.hostname and text == f"{parts.scheme}://{parts.netloc}"
    return text if text == "*" or (whole and "@" not in parts.netloc) else None


def make_path(value: object, info: ValidationInfo) -> Path:
    """Make a path absolute: `~` is the home folder; relative ones start at the configuration's folder.

    Raises:
        PydanticCustomError: It is none.
    """
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise PydanticCustomError("path", "expected {expected}", {"expected": "a path"})
    base = (info.context or {}).get("base") or Path.cwd()
    try:
        return Path(base, Path(value).expanduser())
    except RuntimeError as error:  # no such user
        raise PydanticCustomError("path", "expected {expected}", {"expected": "the path of a known user"}) from error


NonEmpty = Annotated[str, Text(lambda text: text or None, "a text that is not empty")]
HostName = Annotated[str, Text(_host, "an IP address or a host name")]
HookId = Annotated[
    str,
    Text(
        lambda text: text if _HOOK_ID.fullmatch(text) else None,
        "1 to 128 of the characters A-Z a-z 0-9 _ -, beginning with a letter or digit",
    ),
]
Network = Annotated[
    IpNetwork,
    Text(ipaddress.ip_network, "an IP address or a network such as 10.0.0.0/8 (no bits set after the prefix)"),
]
Origin = Annotated[str, Text(_origin, 'an origin such as https://app.example.org, or "*"')]
FilePath = Annotated[
    Path, BeforeValidator(make_path), WithJsonSchema({"type": "string"}), PlainSerializer(str, when_used="json")
]

"""Text values of the configuration: hosts, networks, hook ids, origins, paths; each with what is expected."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

__all__ = ["FilePath", "HookId", "HostName", "Network", "NonEmpty", "Origin", "checked"]

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOOK_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?", re.ASCII)


def checked(parse: Callable[[str], object], expected: str) -> BeforeValidator:
    """Make a validator of texts from a function that returns `None` or raises `ValueError` on wrong ones."""

    def check(value: object) -> object:
        try:
            result = parse(value) if isinstance(value, str) else None
        except ValueError:
            result = None
        if result is None:
            raise PydanticCustomError("text", "expected {expected}", {"expected": expected})
        return result

    return BeforeValidator(check)


def _host(text: str) -> str | None:
    if ":" in text:
        return str(ipaddress.IPv6Address(text))
    return text if _HOST.fullmatch(text) else None


def _origin(text: str) -> str | None:
    parts = urlsplit(text)
    whole = (
        parts.scheme in {"http", "https"} and parts.hostname and text == f"{parts.scheme}://{parts.netloc}"
    )
    return text if text == "*" or (whole and "@" not in parts.netloc) else None


def _path(value: object, info: ValidationInfo) -> Path:
    """Make a path absolute: `~` is the home folder; relative ones start at the configuration's folder."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise PydanticCustomError("path", "expected {expected}", {"expected": "a path"})
    base = (info.context or {}).get("base") or Path.cwd()
    try:
        return Path(base, Path(value).expanduser())
    except RuntimeError as error:  # no such user
        raise PydanticCustomError(
            "path", "expected {expected}", {"expected": "the path of a known user"}
        ) from error


_as_text: Final[Any] = PlainSerializer(str, return_type=str)

NonEmpty = Annotated[str, checked(lambda text: text or None, "a text that is not empty")]
HostName = Annotated[str, checked(_host, "an IP address or a host name")]
HookId = Annotated[
    str,
    checked(
        lambda text: text if _HOOK_ID.fullmatch(text) else None,
        "1 to 128 of the characters A-Z a-z 0-9 _ -, beginning with a letter or digit",
    ),
]
Network = Annotated[
    IpNetwork,
    checked(
        ipaddress.ip_network, "an IP address or a network such as 10.0.0.0/8 (no bits set after the prefix)"
    ),
    WithJsonSchema({"type": "string"}),
    _as_text,
]
Origin = Annotated[str, checked(_origin, 'an origin such as https://app.example.org, or "*"')]
FilePath = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string"}), _as_text]

"""The declaration of an endpoint: its route and the source of its class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from executor.catalog.cursor import Cursor
from executor.catalog.findings import Code
from executor.catalog.rules import RuleError, check_rule
from executor.catalog.scalars import Kind

__all__ = ["METHODS", "Endpoint", "EndpointDraft", "read_endpoint"]

METHODS: Final = ("HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""The methods that an endpoint may declare. Dify knows all but PATCH."""

DIFY_METHODS: Final = frozenset(METHODS) - {"PATCH"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route of a plugin.

    Attributes:
        path: Rule of werkzeug, from the slash on.
        method: In capitals.
        source: The file of its class, relative to the plugin's folder, with slashes.
        hidden: Whether Dify shows it to people; it is served all the same.
        declared_in: File of its declaration, relative to the plugin's folder.
        line: Line of its declaration, from 1.
    """

    path: str
    method: str
    source: str
    hidden: bool = False
    declared_in: Path = Path()
    line: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDraft:
    """A declaration as it was read, before its source was looked at.

    Attributes:
        at: Where it is declared.
        path: Rule of werkzeug; empty when it is not usable.
        equivalence: The same for rules that match the same paths; empty when it is not usable.
        method: In capitals; empty when it is not usable.
        hidden: Whether Dify shows it to people.
        source: Where its source is named.
    """

    at: Cursor
    path: str
    equivalence: str
    method: str
    hidden: bool
    source: Cursor


def read_endpoint(at: Cursor) -> EndpointDraft:
    """Read the declaration of an endpoint, inline or in a file of its own."""
    at.expect(Kind.MAP)
    path, equivalence = _read_path(at.key("path"))
    source = at.submap("extra").submap("python").key("source")
    source.text()
    return EndpointDraft(
        at=at,
        path=path,
        equivalence=equivalence,
        method=_read_method(at.key("method")),
        hidden=at.key("hidden").boolean(default=False),
        source=source,
    )


def _read_path(at: Cursor) -> tuple[str, str]:
    path = at.text()
    if not at.is_a(Kind.TEXT):
        return "", ""
    try:
        return path, check_rule(path)
    except RuleError as error:
        at.add(error.code, found=error.found, expected=error.expected)
        return "", ""


def _read_method(at: Cursor) -> str:
    method = at.text()
    if not at.is_a(Kind.TEXT):
        return ""
    if method.upper() not in METHODS:
        at.add(Code.ENDPOINT_METHOD, expected=f"one of {', '.join(METHODS)}")
        return ""
    if method not in DIFY_METHODS:
        at.add(
            Code.ENDPOINT_METHOD_FORM,
            expected=f"one of {', '.join(sorted(DIFY_METHODS))}",
            hint="it is served here, but not by Dify",
        )
    return method.upper()

"""The manifest of a plugin: who made it, which version it is, where its groups of endpoints are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from executor.catalog.cursor import Cursor
from executor.catalog.findings import Code
from executor.catalog.i18n import LocalText, read_text
from executor.catalog.permissions import Permissions, read_permissions
from executor.catalog.scalars import Kind

__all__ = ["MANIFEST", "Manifest", "read_manifest"]

MANIFEST: Final = "manifest.yaml"
"""The manifest's path in the plugin's folder."""

NAME: Final = re.compile(r"[a-z0-9_-]{1,128}")
AUTHOR: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")

DAEMON_VERSION: Final = re.compile(r"\d{1,4}(\.\d{1,4}){2}(-\w{1,16})?")
"""What Dify's daemon accepts."""

PEP_440_VERSION: Final = re.compile(
    r"""
    v? ([0-9]{1,9}!)? [0-9]{1,9} (\.[0-9]{1,9}){0,9}       # epoch and release
    ([-_.]? (alpha|a|beta|b|preview|pre|c|rc) [-_.]? [0-9]{0,9})?
    (-[0-9]{1,9} | [-_.]? (post|rev|r) [-_.]? [0-9]{0,9})?
    ([-_.]? dev [-_.]? [0-9]{0,9})?
    (\+ [a-z0-9]{1,32} ([-_.][a-z0-9]{1,32}){0,9})?
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
"""What Dify's SDK accepts: appendix B of PEP 440, with the lengths bounded."""

MIXED: Final = ("models", "agent_strategies", "datasources", "triggers")
"""Kinds of providers that Dify's daemon refuses in one plugin with endpoints."""

OTHERS: Final = ("tools", *MIXED)
"""Kinds of providers that are not endpoints, and are not served here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest as it was read.

    Attributes:
        name: The plugin's name.
        author: Who made it.
        version: As it was written.
        label: Name for people.
        memory_hint_bytes: What the author thinks is enough memory; `None` when not given. Real plugins say 1 MiB,
            less than Python itself needs, so this must not be used as a limit.
        permissions: What it may ask of Dify.
        groups: Where the files of its groups are named.
        icons: Where files in the folder `_assets` are named.
    """

    name: str
    author: str
    version: str
    label: LocalText
    memory_hint_bytes: int | None
    permissions: Permissions
    groups: tuple[Cursor, ...]
    icons: tuple[Cursor, ...]


def read_manifest(at: Cursor) -> Manifest:
    """Read the manifest.

    Args:
        at: The top of its file.
    """
    at.expect(Kind.MAP)
    _check_type(at.key("type"))
    _check_created_at(at.key("created_at"))
    _check_language(at.key("meta"))
    read_text(at.key("description"), required=True)
    return Manifest(
        name=at.key("name").matching(NAME, Code.MANIFEST_NAME, "1 to 128 of a-z, 0-9, _ and -"),
        author=_read_author(at.key("author")),
        version=_read_version(at.key("version")),
        label=read_text(at.key("label"), required=True),
        memory_hint_bytes=_read_memory(at.key("resource")),
        permissions=read_permissions(at.key("resource")),
        groups=_read_groups(at.key("plugins")),
        icons=tuple(icon for icon in (at.key("icon"), at.key("icon_dark")) if icon.text(required=False)),
    )


def _check_type(at: Cursor) -> None:
    if at.text() != "plugin" and at.is_a(Kind.TEXT):
        at.add(Code.MANIFEST_TYPE, expected='"plugin"')


def _read_author(at: Cursor) -> str:
    author = at.matching(AUTHOR, Code.MANIFEST_AUTHOR, "1 to 64 of a-z, A-Z, 0-9, _ and -")
    if author != author.lower():
        at.add(Code.MANIFEST_AUTHOR_CASE, expected="1 to 64 of a-z, 0-9, _ and -", hint="Dify refuses capitals")
    return author


def _read_version(at: Cursor) -> str:
    version = at.text()
    if not at.is_a(Kind.TEXT) or DAEMON_VERSION.fullmatch(version):
        return version
    if not PEP_440_VERSION.fullmatch(version):
        at.add(Code.MANIFEST_VERSION, expected="a version such as 1.2.3")
        return ""
    at.add(Code.MANIFEST_VERSION_FORM, expected="a version such as 1.2.3", hint="Dify's daemon refuses other forms")
    return version


def _check_created_at(at: Cursor) -> None:
    """Accept it quoted and as a timestamp of YAML."""
    if not at.given or at.node is None:
        return
    try:
        datetime.fromisoformat(at.node.written)
    except ValueError:
        at.add(Code.MANIFEST_CREATED_AT, expected="a date and time such as 2025-01-31T12:00:00Z")


def _check_language(meta: Cursor) -> None:
    runner = meta.key("runner") if meta.is_a(Kind.MAP) else meta
    language = runner.key("language")
    if runner.is_a(Kind.MAP) and language.given and language.plain() != "python":
        language.add(Code.MANIFEST_LANGUAGE, expected='"python"')


def _read_memory(resource: Cursor) -> int | None:
    if not resource.is_a(Kind.MAP):
        return None
    memory = resource.key("memory")
    value = memory.plain()
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63:
        return value
    if memory.given:
        memory.add(Code.MANIFEST_MEMORY, expected="a number of bytes")
    return None


def _read_groups(plugins: Cursor) -> tuple[Cursor, ...]:
    if not plugins.expect(Kind.MAP):
        return ()
    at = plugins.key("endpoints")
    groups = tuple(item for item in at.items() if item.expect(Kind.TEXT))
    if not at.given or (at.is_a(Kind.LIST) and not at.items()):
        others = [kind for kind in OTHERS if plugins.key(kind).given]
        found = f"only {', '.join(others)}" if others else "nothing"
        at.add(Code.MANIFEST_NO_ENDPOINTS, found=found, expected="a list of files of endpoint groups")
        return ()
    for kind in MIXED:
        if plugins.key(kind).given:
            plugins.key_cursor(kind).add(
                Code.MANIFEST_MIXED, found=f"{kind} beside endpoints", expected="endpoints alone, or with tools"
            )
    if len(groups) > 1:
        hint = "settings of the others are not shown in Dify"
        at.add(Code.MANIFEST_GROUPS, found=f"{len(groups)} groups", expected="one group", hint=hint)
    return groups

"""A group of endpoints: its settings, and its endpoints, inline or each in a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from executor.catalog.cursor import Cursor
from executor.catalog.endpoint import EndpointDraft, read_endpoint
from executor.catalog.findings import Code
from executor.catalog.scalars import Kind
from executor.catalog.setting import SettingDraft, read_settings

__all__ = ["Follow", "Group", "read_group"]

Follow = Callable[[Cursor], Cursor | None]
"""Goes from the name of a YAML file to the top of it; `None`, with a finding, when it cannot be read."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it was read.

    Attributes:
        settings: Its settings; names are unique.
        endpoints: Its endpoints in the order of the file.
    """

    settings: tuple[SettingDraft, ...]
    endpoints: tuple[EndpointDraft, ...]


def read_group(at: Cursor, follow: Follow) -> Group:
    """Read a group.

    Args:
        at: The top of its file.
        follow: Reads the files of endpoints.
    """
    at.expect(Kind.MAP)
    return Group(read_settings(at.key("settings")), tuple(_read_endpoints(at.key("endpoints"), follow)))


def _read_endpoints(at: Cursor, follow: Follow) -> Iterator[EndpointDraft]:
    if at.node is not None and not at.given:
        at.add(Code.GROUP_ENDPOINTS_FORM, expected="a list of endpoints", hint="it is understood here as empty")
    for item in at.items():
        if not item.expect(Kind.TEXT, Kind.MAP):
            continue
        declaration = item if item.is_a(Kind.MAP) else follow(item)
        if declaration is not None:
            yield read_endpoint(declaration)

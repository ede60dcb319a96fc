"""What a YAML scalar means: the rules of YAML 1.1 as PyYAML's safe loader has them, without its surprises.

Timestamps stay text, numbers have a limit, and anything that is not plain data is a text with a foreign tag.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from executor.catalog.findings import show

__all__ = ["TAG", "Kind", "Scalar", "describe", "read_scalar", "resolve_tag"]

Scalar = str | int | float | bool | None

MAX_NUMBER: Final = 64
"""Characters of a number. Longer ones would be slow to read and no use."""

TAG: Final = "tag:yaml.org,2002:"


class Kind(Enum):
    """What a value is; the value is how it is called in messages."""

    _value_: str

    TEXT = "a text"
    INTEGER = "an integer"
    NUMBER = "a number"
    BOOLEAN = "a boolean"
    NULL = "nothing"
    TIMESTAMP = "a date"
    MERGE = "a merge key"
    LIST = "a list"
    MAP = "a map"


KINDS: Final = {
    f"{TAG}str": Kind.TEXT,
    f"{TAG}int": Kind.INTEGER,
    f"{TAG}float": Kind.NUMBER,
    f"{TAG}bool": Kind.BOOLEAN,
    f"{TAG}null": Kind.NULL,
    f"{TAG}timestamp": Kind.TIMESTAMP,
    f"{TAG}merge": Kind.MERGE,
    f"{TAG}value": Kind.TEXT,
}

RESOLVER: Final = Resolver()
CONSTRUCTOR: Final = SafeConstructor()


def resolve_tag(event: yaml.ScalarEvent) -> tuple[str, Kind | None]:
    """Find the tag of a scalar, given or implied, and the kind that it stands for; `None` for a foreign one."""
    tag: str | None = event.tag
    if tag is None or tag == "!":
        plain = event.implicit[0] and tag is None and len(event.value) <= MAX_NUMBER
        tag = _imply_tag(event.value) if plain else f"{TAG}str"
    return tag, KINDS.get(tag)


def _imply_tag(written: str) -> str:
    """Find the tag of a plain scalar."""
    return str(RESOLVER.resolve(yaml.ScalarNode, written, (True, False)))  # type: ignore[no-untyped-call] # no stub


def read_scalar(kind: Kind, written: str) -> Scalar:
    """Turn the text of a scalar into its value.

    Raises:
        ValueError: The text does not fit the kind.
    """
    if kind is Kind.NULL:
        return None
    if kind not in {Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN}:
        return written
    if len(written) > MAX_NUMBER:
        raise ValueError(f"more than {MAX_NUMBER} characters")
    node = yaml.ScalarNode(f"{TAG}x", written)
    try:
        if kind is Kind.INTEGER:
            return int(CONSTRUCTOR.construct_yaml_int(node))
        if kind is Kind.NUMBER:
            return float(CONSTRUCTOR.construct_yaml_float(node))
        return bool(CONSTRUCTOR.construct_yaml_bool(node))
    except (KeyError, IndexError, OverflowError) as error:
        raise ValueError(str(error)) from error


def describe(kind: Kind, written: str) -> str:
    """Say what a value is, for a message; scalars with what was written."""
    called: str = kind.value
    if kind in {Kind.NULL, Kind.LIST, Kind.MAP}:
        return called
    text = show(written)
    return f"the text {text}" if kind is Kind.TEXT else f"the {called.partition(' ')[2]} {text[1:-1]}"

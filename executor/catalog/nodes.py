"""A YAML document as a tree of values that know where they stand.

`compose` reads the events of PyYAML's parser and builds the tree itself, without recursion and within limits: an alias
shares the node of its anchor and counts with all that is below it, so a document that would unfold to millions of
values is refused after a few events, whatever it would have unfolded to.

Only plain data comes out: text, integers, numbers, booleans, null, lists, and maps with text keys. Timestamps stay the
text that was written. Merge keys (`<<`) are merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from executor.catalog.findings import Code, show
from executor.catalog.scalars import TAG, Kind, Scalar, describe, read_scalar, resolve_tag

__all__ = ["MAX_DEPTH", "MAX_NODES", "Entry", "Mistake", "Node", "NodeError", "Position", "compose"]

MAX_NODES: Final = 20_000
"""Values in a document, aliases unfolded. Real declarations have some hundreds."""

MAX_DEPTH: Final = 32
"""Levels of lists and maps in a document, aliases unfolded. Real declarations have seven."""

Position = tuple[int, int]
"""Line and column, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value and its place.

    Attributes:
        kind: What it is.
        position: Where it begins.
        scalar: The value, unless it is a list or a map; a timestamp is the text that was written.
        written: The text of a scalar as it was written.
        items: The items of a list.
        entries: The entries of a map by key; the first of a duplicate.
        weight: Values in it, itself included, aliases unfolded.
        height: Levels of lists and maps in it, itself included.
    """

    kind: Kind
    position: Position
    scalar: Scalar = None
    written: str = ""
    items: tuple[Node, ...] = ()
    entries: Mapping[str, Entry] = field(default_factory=dict)
    weight: int = 1
    height: int = 0

    def describe(self) -> str:
        """Say what it is, for a message."""
        return describe(self.kind, self.written)

    def plain(self) -> object:
        """Make fresh plain data of it; bounded, because the document is."""
        if self.kind is Kind.LIST:
            return [item.plain() for item in self.items]
        if self.kind is Kind.MAP:
            return {name: entry.value.plain() for name, entry in self.entries.items()}
        return self.scalar


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a map and its value."""

    key: Node
    value: Node


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong in a document.

    Attributes:
        code: What kind of mistake.
        position: Where.
        found: What was found.
        expected: What would have been right.
        hint: How to mend it; may be empty.
    """

    code: Code
    position: Position
    found: str
    expected: str
    hint: str = ""


class NodeError(Exception):
    """A document is so wrong that nothing can be read from it."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(f"expected {mistake.expected}, found {mistake.found}")
        self.mistake = mistake


def compose(events: Iterable[yaml.Event], mistakes: list[Mistake]) -> Node | None:
    """Build the tree of a document.

    Args:
        events: What the parser says; read only as far as the limits allow.
        mistakes: Where smaller mistakes are added: duplicate keys, keys that are no text, foreign tags.

    Returns:
        The top of the document; `None` when there is no document.

    Raises:
        NodeError: There are several documents, an alias leads nowhere, or a limit is exceeded.
        yaml.YAMLError: From the parser.
    """
    composer = _Composer(mistakes)
    for event in events:
        composer.handle(event)
    return composer.top


@dataclass(slots=True)
class _Open:
    """A list or map that has begun and not yet ended."""

    kind: Kind
    position: Position
    anchor: str | None
    children: list[Node] = field(default_factory=list)

    def expects_key(self) -> bool:
        return self.kind is Kind.MAP and len(self.children) % 2 == 0


class _Composer:
    """Builds nodes from events."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        self.top: Node | None = None
        self._mistakes = mistakes
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._documents = 0
        self._weight = 0

    def handle(self, event: yaml.Event) -> None:
        """Take the next event."""
        position = _position(event)
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event, position), position, anchor=event.anchor, weight=1)
        elif isinstance(event, yaml.AliasEvent):
            node = self._resolve(event.anchor or "", position)
            self._add(node, position, anchor=None, weight=node.weight)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._start(event, position)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end(position)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                expected = "one document in the file"
                raise NodeError(Mistake(Code.YAML_DOCUMENTS, position, "a second document", expected))

    def _add(self, node: Node, position: Position, *, anchor: str | None, weight: int) -> None:
        self._check_limits(weight, node.height, position)
        if anchor is not None:
            self._anchors[anchor] = node
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.top = node

    def _check_limits(self, weight: int, height: int, position: Position) -> None:
        self._weight += weight
        if self._weight > MAX_NODES:
            expected = f"at most {MAX_NODES} values in a document, with aliases unfolded"
            raise NodeError(Mistake(Code.YAML_TOO_LARGE, position, "more", expected))
        if len(self._open) + height > MAX_DEPTH:
            expected = f"lists and maps nested at most {MAX_DEPTH} deep, with aliases unfolded"
            raise NodeError(Mistake(Code.YAML_TOO_LARGE, position, "deeper ones", expected))

    def _scalar(self, event: yaml.ScalarEvent, position: Position) -> Node:
        written = event.value
        tag, kind = resolve_tag(event)
        if kind is None:
            self._refuse_tag(tag, position)
        if kind is None or (kind is Kind.MERGE and not (self._open and self._open[-1].expects_key())):
            kind = Kind.TEXT
        try:
            scalar = read_scalar(kind, written)
        except ValueError:
            self._mistakes.append(Mistake(Code.YAML_NUMBER, position, show(written), kind.value))
            scalar = 0
        return Node(kind=kind, position=position, scalar=scalar, written=written)

    def _resolve(self, anchor: str, position: Position) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            found = f"the alias {show('*' + anchor)}" + (" inside itself" if anchor in self._anchors else "")
            raise NodeError(Mistake(Code.YAML_ALIAS, position, found, "an alias of something that stands before it"))
        return node

    def _start(self, event: yaml.CollectionStartEvent, position: Position) -> None:
        kind = Kind.MAP if isinstance(event, yaml.MappingStartEvent) else Kind.LIST
        if event.tag not in {None, "!", f"{TAG}{'map' if kind is Kind.MAP else 'seq'}"}:
            self._refuse_tag(event.tag, position)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(kind, position, event.anchor))
        self._check_limits(1, 0, position)

    def _end(self, position: Position) -> None:
        closed = self._open.pop()
        children = closed.children
        node = Node(
            kind=closed.kind,
            position=closed.position,
            items=tuple(children) if closed.kind is Kind.LIST else (),
            entries=self._pair(children, position) if closed.kind is Kind.MAP else {},
            weight=1 + sum(child.weight for child in children),
            height=1 + max((child.height for child in children), default=0),
        )
        self._add(node, position, anchor=closed.anchor, weight=0)

    def _pair(self, children: list[Node], position: Position) -> dict[str, Entry]:
        """Make entries of keys and values that follow each other."""
        entries: dict[str, Entry] = {}
        merged: list[Node] = []
        for key, value in zip(children[::2], children[1::2], strict=True):
            if key.kind is Kind.MERGE:
                merged.append(value)
            elif key.kind not in {Kind.TEXT, Kind.TIMESTAMP}:
                found = f"{key.describe()} as a key"
                self._mistakes.append(
                    Mistake(Code.YAML_KEY, key.position, found, "a text as a key", "put it in quotes")
                )
            elif key.written in entries:
                first = entries[key.written].key.position[0]
                found = f"{show(key.written)} again, first on line {first}"
                self._mistakes.append(Mistake(Code.YAML_DUPLICATE_KEY, key.position, found, "each key once in a map"))
            else:
                entries[key.written] = Entry(key, value)
        for source in self._merge_sources(merged):
            self._check_limits(len(source.entries), 0, position)
            for name, entry in source.entries.items():
                entries.setdefault(name, entry)
        return entries

    def _merge_sources(self, merged: Iterable[Node]) -> Iterator[Node]:
        for value in merged:
            for source in value.items if value.kind is Kind.LIST else (value,):
                if source.kind is Kind.MAP:
                    yield source
                else:
                    expected = "a map to merge, or a list of maps"
                    self._mistakes.append(Mistake(Code.FIELD_TYPE, source.position, source.describe(), expected))

    def _refuse_tag(self, tag: str, position: Position) -> None:
        self._mistakes.append(Mistake(Code.YAML_TAG, position, f"the tag {show(tag.replace(TAG, '!!'))}", "plain data"))


def _position(event: yaml.Event) -> Position:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)

"""A place in a document, with readers that report what is wrong there and always return something usable.

Every reader returns a value of its type. Where the document has none, or a wrong one, the reader adds a finding and
returns a neutral value instead, so that validators read top to bottom like the shape they describe, and everything
that is wrong is found in one go. Whether the result may be used is decided at the end, by the findings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from executor.catalog.findings import Code, Findings
from executor.catalog.nodes import Node, Position
from executor.catalog.scalars import Kind

__all__ = ["Cursor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A value, or the place where it is missing.

    Attributes:
        findings: Where mistakes are added.
        file: The file, relative to the plugin's folder.
        name: The way to it from the top of the document, such as `settings[2].name`; empty at the top.
        position: Where it begins, or where the map begins in which it is missing.
        node: The value; `None` when it is missing.
        excused: Whether something around it is wrong already, so that it need not be missed.
    """

    findings: Findings
    file: Path
    name: str
    position: Position
    node: Node | None
    excused: bool = False

    @classmethod
    def at_top(cls, findings: Findings, file: Path, node: Node) -> Cursor:
        """Start at the top of a document."""
        return cls(findings=findings, file=file, name="", position=node.position, node=node)

    @property
    def line(self) -> int:
        """The line where it begins, from 1."""
        return self.position[0]

    @property
    def given(self) -> bool:
        """Whether there is a value other than null."""
        return self.node is not None and self.node.kind is not Kind.NULL

    def is_a(self, *kinds: Kind) -> bool:
        """Tell whether there is a value of one of these kinds."""
        return self.node is not None and self.node.kind in kinds

    def key(self, name: str) -> Cursor:
        """Go to the value of a key, which may be missing, as may be the map itself."""
        entry = self.node.entries.get(name) if self.node is not None else None
        return Cursor(
            findings=self.findings,
            file=self.file,
            name=f"{self.name}.{name}" if self.name else name,
            position=self.position if entry is None else entry.value.position,
            node=None if entry is None else entry.value,
            excused=self.excused or (self.given and not self.is_a(Kind.MAP)),
        )

    def submap(self, name: str) -> Cursor:
        """Go to the value of a key, which must be a map if it is given."""
        at = self.key(name)
        at.expect(Kind.MAP, required=False)
        return at

    def items(self) -> tuple[Cursor, ...]:
        """Go to every item of a list; null or missing is an empty list."""
        if self.node is None or not self.expect(Kind.LIST, required=False):
            return ()
        return tuple(
            Cursor(
                findings=self.findings,
                file=self.file,
                name=f"{self.name}[{index}]",
                position=item.position,
                node=item,
            )
            for index, item in enumerate(self.node.items)
        )

    def keys(self) -> tuple[str, ...]:
        """The keys of a map, in the order of the document."""
        return tuple(self.node.entries) if self.node is not None else ()

    def key_cursor(self, name: str) -> Cursor:
        """Go to a key itself, as a text."""
        entry = self.node.entries.get(name) if self.node is not None else None
        if entry is None:
            return self.key(name)
        return Cursor(
            findings=self.findings,
            file=self.file,
            name=f"{self.name}.{name}",
            position=entry.key.position,
            node=entry.key,
        )

    def expect(self, *kinds: Kind, required: bool = True) -> bool:
        """Require a value of one of these kinds.

        Returns:
            Whether there is one; else a finding was added, unless it is missing and not required.
        """
        expected = " or ".join(kind.value for kind in kinds)
        if not self.given:
            if required and not self.excused:
                found = "nothing" if self.node is None else "an empty value"
                self.add(Code.FIELD_MISSING, found=found, expected=expected)
            return False
        if self.is_a(*kinds):
            return True
        hint = "put it in quotes" if Kind.TEXT in kinds and not self.is_a(Kind.LIST, Kind.MAP) else ""
        self.add(Code.FIELD_TYPE, expected=expected, hint=hint)
        return False

    def text(self, *, required: bool = True, default: str = "") -> str:
        """Read a text."""
        return self.node.written if self.expect(Kind.TEXT, required=required) and self.node else default

    def matching(self, pattern: re.Pattern[str], code: Code, expected: str) -> str:
        """Read a text that is required and must match a pattern as a whole; else it is empty."""
        text = self.text()
        if not self.is_a(Kind.TEXT) or pattern.fullmatch(text):
            return text
        self.add(code, expected=expected)
        return ""

    def boolean(self, *, default: bool) -> bool:
        """Read a boolean; null or missing is the default."""
        if not self.expect(Kind.BOOLEAN, required=False):
            return default
        return self.node is not None and self.node.scalar is True

    def plain(self) -> object:
        """Make plain data of whatever is here; `None` when nothing is."""
        return None if self.node is None else self.node.plain()

    def describe(self) -> str:
        """Say what is here, for a message."""
        return "nothing" if self.node is None else self.node.describe()

    def add(self, code: Code, *, expected: str, found: str = "", hint: str = "") -> None:
        """Add a finding about what is here."""
        self.findings.add(
            code,
            self.file,
            self.position,
            what=self.name,
            found=found or self.describe(),
            expected=expected,
            hint=hint,
        )

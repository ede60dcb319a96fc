"""What is wrong with a package."""

from __future__ import annotations

from typing import ClassVar

from executor.catalog.findings import printable, show
from executor.errors import ExecutorError

__all__ = ["PackageError", "SignatureError"]


class PackageError(ExecutorError):
    """A package, or a folder that is to be packed, is refused.

    Attributes:
        entry: Name of the file in it, as it was found, with control characters escaped; empty for the whole.
        found: What was found.
        expected: What would have been right.
    """

    code: ClassVar[str] = "package.refused"

    def __init__(self, entry: str, *, found: str, expected: str, hint: str = "") -> None:
        self.entry = printable(entry)
        self.found = printable(found)
        self.expected = printable(expected)
        what = f"entry {show(entry)}: " if entry else ""
        message = f"{what}expected {self.expected}, found {self.found}"
        super().__init__(f"{message}; {printable(hint)}" if hint else message)


class SignatureError(PackageError):
    """A package is not signed as it has to be."""

    code: ClassVar[str] = "package.signature"

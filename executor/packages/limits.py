"""How large a package may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DEFAULT_LIMITS", "PackageLimits"]

MIB: Final = 1024 * 1024

HEADERS: Final = 1024
"""Bytes of headers that an entry may cost besides its content: two headers with its name, and room to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageLimits:
    """Bounds of a package.

    Attributes:
        total_bytes: All files together, uncompressed. Dify's own bound is 50 MiB.
        file_bytes: One file, uncompressed.
        files: How many there are. Real packages have up to some hundreds.
        ratio: Uncompressed by compressed size of a file above `free_bytes`. Real files reach 10, rarely 100.
        free_bytes: Up to this size of a file the ratio does not matter.
    """

    total_bytes: int = 50 * MIB
    file_bytes: int = 50 * MIB
    files: int = 10_000
    ratio: int = 200
    free_bytes: int = MIB

    @property
    def package_bytes(self) -> int:
        """Size of the package itself, compressed: what cannot be compressed grows a little."""
        return self.total_bytes + self.files * HEADERS


DEFAULT_LIMITS: Final = PackageLimits()

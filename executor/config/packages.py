"""The section `packages`: how large a package of a plugin may be, and who must have signed it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from executor.config.section import Section
from executor.config.texts import FilePath
from executor.config.units import Count, Size
from executor.packages.limits import DEFAULT_LIMITS, PackageLimits

__all__ = ["Packages"]


class Packages(Section):
    """Packages of plugins (`.difypkg`) that `executor plugin install` accepts."""

    require_signature: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Whether packages must be signed with one of `public_keys`. Folders, which cannot be signed, are "
        "refused then too. A signature covers the contents of all files and not their names: who can change "
        "a package on its way can exchange files of a signed one.",
    )
    public_keys: tuple[FilePath, ...] = Field(
        default=(),
        description="Files with public RSA keys in PEM, of whoever may sign packages. Dify's own is in the source of "
        "its daemon, `pkg/license/public_key`.",
    )
    size: Annotated[int, Size("1 KiB", "1 GiB")] = Field(
        default=DEFAULT_LIMITS.total_bytes, description="All files of a package together, unpacked. Dify allows 50 MiB."
    )
    files: Annotated[int, Count(1, 60_000)] = Field(
        default=DEFAULT_LIMITS.files, description="Files of a package. Real ones have some hundreds."
    )
    ratio: Annotated[int, Count(2, 1100)] = Field(
        default=DEFAULT_LIMITS.ratio,
        description="How many times larger than in the package a file of more than 1 MiB may be when it is unpacked.",
    )

    @property
    def limits(self) -> PackageLimits:
        """The limits in the form that the reader of packages takes."""
        return PackageLimits(total_bytes=self.size, file_bytes=self.size, files=self.files, ratio=self.ratio)

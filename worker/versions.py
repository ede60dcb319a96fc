"""Versions of installed distributions, read from the names of their folders.

`importlib.metadata` would do, but it imports a tenth of the standard library, which every fork then pays for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["installed_version"]

SUFFIX: Final = ".dist-info"


def installed_version(distribution: str, package_file: str) -> str:
    """Return the version of the distribution that a package came from.

    Args:
        distribution: Its name, as in the name of its `.dist-info` folder, in any case.
        package_file: `__file__` of the package.

    Returns:
        The version, or `unknown`.
    """
    for folder in Path(package_file).parent.parent.glob(f"*{SUFFIX}"):
        name, _, version = folder.name.removesuffix(SUFFIX).partition("-")
        if name.lower() == distribution:
            return version
    return "unknown"

"""The checksum of a package, and the identifier that Dify knows a version of a plugin by.

The checksum binds names and contents of all files, and neither their order nor how they are compressed: the SHA-256 of
all names and contents, each as its own SHA-256, sorted by name::

    sha256(sha256(name 1) sha256(content 1) sha256(name 2) sha256(content 2) ...)

Names are bytes of UTF-8 and sorted as such. Source: Dify's daemon, `pkg/plugin_packager/decoder/checksum.go`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

__all__ = ["compute_checksum", "format_identifier"]


def compute_checksum(digests: Mapping[str, bytes]) -> str:
    """Compute the checksum of a package.

    Args:
        digests: SHA-256 of each file's content, by its name, 32 bytes each.

    Returns:
        64 hexadecimal digits.
    """
    whole = hashlib.sha256()
    for name in sorted(name.encode() for name in digests):
        whole.update(hashlib.sha256(name).digest())
        whole.update(digests[name.decode()])
    return whole.hexdigest()


def format_identifier(*, author: str, name: str, version: str, checksum: str) -> str:
    """Write the unique identifier of a version: `author/name:version@checksum`."""
    return f"{author}/{name}:{version}@{checksum}"

"""Keys that are sent with every request."""

from __future__ import annotations

from executor.config.confidential import Confidential
from executor.config.references import ResolveError

__all__ = ["read_key"]


def read_key(secret: Confidential) -> str:
    """Fetch a key, without white space around it.

    Raises:
        ResolveError: It is not where it should be, is empty, or cannot be sent in a header.
    """
    key = secret.reveal().strip()
    if not key or not key.isascii() or not key.isprintable():
        found = "nothing" if not key else "other characters"
        message = f"the key from {secret.source} has to be printable ASCII characters, and there is {found}"
        raise ResolveError(message, expected="a key of printable ASCII characters", found=found)
    return key

"""Who Dify takes for the user of a call: somebody who stays the same, and whose name tells nothing.

A hook's id is the only secret in front of it, and an address is nobody's business, so both are hashed.
"""

from __future__ import annotations

import hashlib
from typing import Literal

__all__ = ["make_user_id"]


def make_user_id(per: Literal["hook", "client"], *, tenant_id: str, hook_id: str, address: str | None) -> str:
    """Return the identifier of a user.

    Args:
        per: Whether it stands for everybody who calls the hook, or for one address.
        tenant_id: Whose hook it is.
        hook_id: The hook.
        address: Of the client, where known.
    """
    parts = [tenant_id, hook_id, *([address or ""] if per == "client" else [])]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"{per}-{digest[:32]}"

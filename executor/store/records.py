"""What the repositories take and give: plain data, not bound to a database."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["DEFAULT_TENANT", "InstalledPlugin", "StoredHook", "new_hook_id"]

DEFAULT_TENANT: Final = "default"
"""The tenant of hooks that nobody gives another one."""

_ALPHABET: Final = string.ascii_lowercase + string.digits
_HOOK_ID_LENGTH: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPlugin:
    """One installed version of a plugin.

    Attributes:
        identifier: `author/name:version@checksum`, unique.
        author: As the manifest says.
        name: Likewise.
        version: Likewise.
        checksum: Of the package, 64 hexadecimal digits.
        digest: Of the content of its folder.
        folder: Where it was unpacked.
        declaration: Facts of the manifest, for lists; plain data.
        verified: Whether a signature was found good.
        signed_by: Whose signature that was; `None` without one.
        installed_at: Unix seconds.
        environment: The digest of its environment; `None` before that was built.
        environment_problem: Why the last build of it failed; `None` when it did not.
    """

    identifier: str
    author: str
    name: str
    version: str
    checksum: str
    digest: str
    folder: str
    declaration: Mapping[str, object] = field(default_factory=dict)
    verified: bool = False
    signed_by: str | None = None
    installed_at: float
    environment: str | None = None
    environment_problem: str | None = None

    @property
    def plugin_id(self) -> str:
        """`author/name`: what all versions have in common."""
        return f"{self.author}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHook:
    """One hook, as it is kept.

    Attributes:
        hook_id: The part of the URL after `/e/`; also what protects the hook from strangers.
        tenant_id: Whose it is; decides which plugin storage it sees.
        plugin_id: `author/name`.
        groups: The endpoint groups that it serves, by the file that declares them; empty for all.
        active: Identifier of the version that serves it.
        previous: Identifier of the version before that; `None` when there was none, or it was removed.
        enabled: Whether requests are served.
        settings: Values of settings that are not secret, by name.
        secrets: Ciphertexts of those that are, by name; see `executor.vault`.
        created_at: Unix seconds.
        updated_at: Unix seconds of the last change.
    """

    hook_id: str
    tenant_id: str = DEFAULT_TENANT
    plugin_id: str
    groups: tuple[str, ...] = ()
    active: str
    previous: str | None = None
    enabled: bool = True
    settings: Mapping[str, object] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    created_at: float
    updated_at: float


def new_hook_id() -> str:
    """Make an id that cannot be guessed: 16 lower-case letters and digits, as Dify's are, 82 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_HOOK_ID_LENGTH))

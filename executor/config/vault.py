"""The section `secrets`: the key that the secret settings of hooks are encrypted with."""

from __future__ import annotations

from pydantic import Field

from executor.config.confidential import Confidential
from executor.config.section import Section

__all__ = ["SecretSettings"]


class SecretSettings(Section):
    """Encryption of the secret settings of hooks that are kept in the store."""

    key: Confidential | None = Field(
        default=None,
        description="The key, as `executor secrets new-key` prints one; old ones may follow it, a line each. All "
        "executors that share a store need the same. Not given: the file `secrets.key` of `state_dir`, made when it "
        "is needed.",
    )

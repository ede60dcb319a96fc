"""What the tests of the vault have in common."""

from __future__ import annotations

from pathlib import Path

from executor.vault.keyring import KEY_FILE, KeyFile
from executor.vault.vault import Vault

__all__ = ["make_vault"]


def make_vault(folder: Path) -> Vault:
    """A vault with the key file of a state folder."""
    return Vault(KeyFile(folder / KEY_FILE))

"""What can go wrong with secrets. No text has a secret in it."""

from __future__ import annotations

from typing import ClassVar

from executor.errors import ExecutorError

__all__ = ["KeySourceError", "SecretUnreadableError", "VaultError"]


class VaultError(ExecutorError):
    """Secrets cannot be encrypted or decrypted."""

    code: ClassVar[str] = "vault.error"


class KeySourceError(VaultError):
    """There is no key where one should be, or what is there is none."""

    code = "vault.key"


class SecretUnreadableError(VaultError):
    """A ciphertext cannot be decrypted; the text names the hook and the setting.

    Attributes:
        hook_id: Of the hook.
        setting: Name of the setting.
    """

    code = "vault.unreadable"

    def __init__(self, hook_id: str, setting: str, reason: str) -> None:
        super().__init__(f"hook {hook_id}: the secret setting {setting} cannot be decrypted: {reason}")
        self.hook_id = hook_id
        self.setting = setting

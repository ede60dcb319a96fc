"""The tables, as the newest migration leaves them.

All names begin with `executor_`, so that a PostgreSQL database may be shared with other programs. Times are Unix
seconds, sizes bytes. `migrations` makes these tables; a test holds that both say the same.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Boolean, Double, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["ChangeRow", "EntryRow", "HookRow", "PluginRow", "ScopeRow", "StoreBase"]

_Number: Final = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit key; only `INTEGER` counts up by itself in SQLite, and has 64 bits there."""


class StoreBase(DeclarativeBase):
    """What all tables belong to."""


class PluginRow(StoreBase):
    """An installed version of a plugin."""

    __tablename__ = "executor_plugins"
    __table_args__ = (Index("executor_plugins_by_name", "author", "name"),)

    identifier: Mapped[str] = mapped_column(String(512), primary_key=True)
    author: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(128))
    version: Mapped[str] = mapped_column(String(128))
    checksum: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(128))
    folder: Mapped[str] = mapped_column(Text)
    declaration: Mapped[dict[str, Any]] = mapped_column(JSON)
    verified: Mapped[bool] = mapped_column(Boolean)
    signed_by: Mapped[str | None] = mapped_column(String(256))
    installed_at: Mapped[float] = mapped_column(Double)
    environment: Mapped[str | None] = mapped_column(String(128))
    environment_problem: Mapped[str | None] = mapped_column(Text)


class HookRow(StoreBase):
    """A hook. Its secret settings are ciphertexts."""

    __tablename__ = "executor_hooks"
    __table_args__ = (
        Index("executor_hooks_by_plugin", "plugin_id", "tenant_id"),
        Index("executor_hooks_by_active", "active"),
        Index("executor_hooks_by_previous", "previous"),
    )

    hook_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(128))
    plugin_id: Mapped[str] = mapped_column(String(256))
    groups: Mapped[list[str]] = mapped_column(JSON)
    active: Mapped[str] = mapped_column(ForeignKey("executor_plugins.identifier"))
    previous: Mapped[str | None] = mapped_column(ForeignKey("executor_plugins.identifier", ondelete="SET NULL"))
    enabled: Mapped[bool] = mapped_column(Boolean)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    secrets: Mapped[dict[str, str]] = mapped_column(JSON)
    created_at: Mapped[float] = mapped_column(Double)
    updated_at: Mapped[float] = mapped_column(Double)


class ScopeRow(StoreBase):
    """What one plugin has stored for one tenant, or for one hook: how much, and the lock for changing it."""

    __tablename__ = "executor_storage_scopes"
    __table_args__ = (Index("executor_storage_scopes_by_owner", "tenant_id", "plugin_id", "hook_id", unique=True),)

    scope_id: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    tenant_id: Mapped[str] = mapped_column(String(128))
    plugin_id: Mapped[str] = mapped_column(String(256))
    hook_id: Mapped[str] = mapped_column(String(128))
    """Empty for what all hooks of the tenant share; not NULL, which would be different from itself."""
    used_bytes: Mapped[int] = mapped_column(BigInteger)
    """Of all values together, those that have expired and are still there included."""
    keys: Mapped[int] = mapped_column(BigInteger)


class EntryRow(StoreBase):
    """One value in plugin storage."""

    __tablename__ = "executor_storage_entries"
    __table_args__ = (Index("executor_storage_entries_by_expiry", "expires_at"),)

    scope_id: Mapped[int] = mapped_column(
        ForeignKey("executor_storage_scopes.scope_id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(String(256), primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary)
    size: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(BigInteger)
    """1 for a new key, and one more with every change."""
    expires_at: Mapped[float | None] = mapped_column(Double)


class ChangeRow(StoreBase):
    """One row that counts the changes of plugins and hooks, so that a running service can see that there was one."""

    __tablename__ = "executor_changes"

    row_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(BigInteger)

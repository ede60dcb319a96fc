"""Plugins, hooks, plugin storage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    _make_plugins()
    _make_hooks()
    _make_storage()
    changes = op.create_table(
        "executor_changes",
        sa.Column("row_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
    )
    op.bulk_insert(changes, [{"row_id": 1, "generation": 0}])


def _make_plugins() -> None:
    op.create_table(
        "executor_plugins",
        sa.Column("identifier", sa.String(512), primary_key=True),
        sa.Column("author", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("checksum", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(128), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("declaration", sa.JSON(), nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.Column("signed_by", sa.String(256)),
        sa.Column("installed_at", sa.Double(), nullable=False),
        sa.Column("environment", sa.String(128)),
        sa.Column("environment_problem", sa.Text()),
    )
    op.create_index("executor_plugins_by_name", "executor_plugins", ["author", "name"])


def _make_hooks() -> None:
    plugin = "executor_plugins.identifier"
    op.create_table(
        "executor_hooks",
        sa.Column("hook_id", sa.String(128), primary_key=True),
        sa.Column("tenant_id", sa.String(128), nullable=False),
        sa.Column("plugin_id", sa.String(256), nullable=False),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("active", sa.String(512), sa.ForeignKey(plugin), nullable=False),
        sa.Column("previous", sa.String(512), sa.ForeignKey(plugin, ondelete="SET NULL")),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("secrets", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
    )
    op.create_index("executor_hooks_by_plugin", "executor_hooks", ["plugin_id", "tenant_id"])
    op.create_index("executor_hooks_by_active", "executor_hooks", ["active"])
    op.create_index("executor_hooks_by_previous", "executor_hooks", ["previous"])


def _make_storage() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "executor_storage_scopes",
        sa.Column("scope_id", number, primary_key=True, autoincrement=True),
        sa.Column("tenant_id", sa.String(128), nullable=False),
        sa.Column("plugin_id", sa.String(256), nullable=False),
        sa.Column("hook_id", sa.String(128), nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("keys", sa.BigInteger(), nullable=False),
    )
    owner = ["tenant_id", "plugin_id", "hook_id"]
    op.create_index("executor_storage_scopes_by_owner", "executor_storage_scopes", owner, unique=True)
    scope = "executor_storage_scopes.scope_id"
    op.create_table(
        "executor_storage_entries",
        sa.Column("scope_id", number, sa.ForeignKey(scope, ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.String(256), primary_key=True),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.Double()),
    )
    op.create_index("executor_storage_entries_by_expiry", "executor_storage_entries", ["expires_at"])

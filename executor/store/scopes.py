"""What is stored in one scope of plugin storage, and how much it is: changes within a transaction.

The row of a scope is its lock, and its two counters are right at the end of each transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from executor.store.errors import QuotaExceededError
from executor.store.tables import EntryRow, ScopeRow

__all__ = [
    "ScopeUsage",
    "StorageScope",
    "Write",
    "alive",
    "drop_expired",
    "find_scope",
    "in_scope",
    "lock_scope",
    "put",
    "remove_entries",
]

MAX_KEYS: Final = 65_536
"""Keys of one scope: they are not in the quota, and must not grow without end."""


@dataclass(frozen=True, slots=True)
class StorageScope:
    """Whose values are meant. Different scopes never see each other's.

    Attributes:
        tenant_id: The tenant.
        plugin_id: `author/name`: all versions of a plugin share their values.
        hook_id: The hook that has values of its own; `None` for those that all hooks of the tenant share.
    """

    tenant_id: str
    plugin_id: str
    hook_id: str | None = None


@dataclass(frozen=True, slots=True)
class ScopeUsage:
    """How much is stored in a scope.

    Attributes:
        scope: Which one.
        keys: How many values.
        used_bytes: Of all of them.
    """

    scope: StorageScope
    keys: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class Write:
    """One value to be written.

    Attributes:
        key: As `clean_key` made it.
        value: What to write.
        quota_bytes: What the scope may have in all.
        ttl_s: Seconds that it lives; `None` for ever.
        now: Unix seconds.
    """

    key: str
    value: bytes
    quota_bytes: int
    ttl_s: float | None
    now: float


def in_scope(scope: StorageScope) -> tuple[ColumnElement[bool], ...]:
    """What holds for the row of a scope."""
    return (
        ScopeRow.tenant_id == scope.tenant_id,
        ScopeRow.plugin_id == scope.plugin_id,
        ScopeRow.hook_id == (scope.hook_id or ""),
    )


def alive(now: float) -> ColumnElement[bool]:
    """What holds for values that have not expired."""
    return or_(EntryRow.expires_at.is_(None), EntryRow.expires_at > now)


def find_scope(session: Session, scope: StorageScope) -> ScopeRow | None:
    """Find and lock the row of a scope, if there is one."""
    return session.scalars(select(ScopeRow).where(*in_scope(scope)).with_for_update()).one_or_none()


def lock_scope(session: Session, scope: StorageScope, kind: str) -> ScopeRow:
    """Find or make the row of a scope; until the end of the transaction nobody else has it."""
    owner = {"tenant_id": scope.tenant_id, "plugin_id": scope.plugin_id, "hook_id": scope.hook_id or ""}
    query = select(ScopeRow).where(*in_scope(scope)).with_for_update()
    while (row := session.scalars(query).one_or_none()) is None:  # again, should it be removed at that very moment
        insert = sqlite.insert if kind == "sqlite" else postgresql.insert
        session.execute(insert(ScopeRow).values(**owner, used_bytes=0, keys=0).on_conflict_do_nothing())
    return row


def put(session: Session, row: ScopeRow, write: Write) -> None:
    """Write a value into a scope that is locked and has nothing expired in it.

    Raises:
        QuotaExceededError: It does not fit.
    """
    entry = EntryRow.scope_id == row.scope_id, EntryRow.key == write.key
    old = session.execute(select(EntryRow.size, EntryRow.version).where(*entry)).one_or_none()
    growth = len(write.value) - (0 if old is None else old.size)
    used = row.used_bytes + growth
    if growth > 0 and used > write.quota_bytes:
        raise QuotaExceededError(
            f"the storage quota of {write.quota_bytes} bytes would be exceeded: {row.used_bytes} are used, and the "
            f"value needs {growth} more; nothing was written"
        )
    if old is None and row.keys >= MAX_KEYS:
        raise QuotaExceededError(f"the storage has {MAX_KEYS} keys, which is the most; nothing was written")
    expires_at = None if write.ttl_s is None else write.now + write.ttl_s
    values = {"value": write.value, "size": len(write.value), "expires_at": expires_at}
    if old is None:
        session.add(EntryRow(scope_id=row.scope_id, key=write.key, version=1, **values))
        row.keys += 1
    else:
        session.execute(update(EntryRow).where(*entry).values(**values, version=old.version + 1))
    row.used_bytes = used


def drop_expired(session: Session, row: ScopeRow, now: float) -> int:
    """Remove what has expired of a locked scope; how many values that were."""
    return remove_entries(session, row, EntryRow.scope_id == row.scope_id, EntryRow.expires_at <= now)


def remove_entries(session: Session, row: ScopeRow, *which: ColumnElement[bool]) -> int:
    """Remove entries of a locked scope, and count them out; how many they were."""
    totals = select(func.count(), func.coalesce(func.sum(EntryRow.size), 0)).where(*which)
    count, size = session.execute(totals).one()
    if count:
        session.execute(delete(EntryRow).where(*which))
        row.keys -= count
        row.used_bytes -= int(size)
    return int(count)

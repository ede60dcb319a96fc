"""Hooks: which plugin serves which address, with which settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from executor.store.changes import begin_change
from executor.store.database import Database
from executor.store.errors import AlreadyStoredError, NotStoredError
from executor.store.records import StoredHook
from executor.store.tables import HookRow, PluginRow, ScopeRow
from executor.store.values import check_row

__all__ = ["HookRepository"]

BATCH: Final = 1000
"""Ids in one statement; databases take some ten thousand parameters."""


class HookRepository:
    """The hooks. Every method raises `StoreError` when the database cannot be used.

    Args:
        database: Borrowed.
        clock: Unix seconds.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def add(self, hook: StoredHook) -> None:
        """Keep a new hook.

        Raises:
            AlreadyStoredError: There is one with its id.
            NotStoredError: The version that it names is not installed.
        """
        with self._database.write() as session:
            begin_change(session)
            _refuse_id(session, hook.hook_id)
            _check_versions(session, hook)
            session.add(HookRow(**_values(hook)))

    def get(self, hook_id: str) -> StoredHook | None:
        """Find one hook."""
        with self._database.read() as session:
            row = session.get(HookRow, hook_id)
            return None if row is None else _read(row)

    def list(self, *, plugin_id: str | None = None) -> tuple[StoredHook, ...]:
        """List the hooks, those of one plugin only where one is given, in the order of their creation."""
        query = select(HookRow).order_by(HookRow.created_at, HookRow.hook_id)
        if plugin_id is not None:
            query = query.where(HookRow.plugin_id == plugin_id)
        with self._database.read() as session:
            return tuple(_read(row) for row in session.scalars(query))

    def ids(self, *, active: str | None = None) -> tuple[str, ...]:
        """List the ids of hooks, those that one version serves only where one is given, in the order of `list`."""
        query = select(HookRow.hook_id).order_by(HookRow.created_at, HookRow.hook_id)
        if active is not None:
            query = query.where(HookRow.active == active)
        with self._database.read() as session:
            return tuple(session.scalars(query))

    def update(self, hook_id: str, change: Callable[[StoredHook], StoredHook]) -> StoredHook:
        """Change a hook, atomically: nobody else changes it between the reading and the writing.

        Args:
            hook_id: Of the hook as it is now.
            change: Makes the new record of the present one, without using the store. It may give another `hook_id`:
                what the hook has in plugin storage of its own moves with it. Ciphertexts are bound to the id, so they
                must be made anew.

        Returns:
            The new record, with the time of the change.

        Raises:
            NotStoredError: There is no such hook, or the version that it now names is not installed.
            AlreadyStoredError: There is another hook with the new id.
        """
        with self._database.write() as session:
            begin_change(session)
            row = session.get(HookRow, hook_id)
            if row is None:
                raise _missing(hook_id)
            changed = replace(change(_read(row)), updated_at=self._clock())
            if changed.hook_id != hook_id:
                _refuse_id(session, changed.hook_id)
                session.execute(update(ScopeRow).where(ScopeRow.hook_id == hook_id).values(hook_id=changed.hook_id))
            _check_versions(session, changed)
            for name, value in _values(changed).items():
                setattr(row, name, value)
            return changed

    def remove(self, hook_id: str) -> StoredHook:
        """Forget a hook, and what it alone has in plugin storage.

        Returns:
            What was kept of it.

        Raises:
            NotStoredError: There is no such hook.
        """
        with self._database.write() as session:
            begin_change(session)
            row = session.get(HookRow, hook_id)
            if row is None:
                raise _missing(hook_id)
            removed = _read(row)
            for scope in session.scalars(select(ScopeRow).where(ScopeRow.hook_id == hook_id)):
                session.delete(scope)
            session.delete(row)
            return removed

    def remove_all(self, hook_ids: Iterable[str]) -> int:
        """Forget hooks, and what they alone have in plugin storage, all or none.

        Returns:
            How many there were.

        Raises:
            NotStoredError: There is one that is not there.
        """
        ids = [*dict.fromkeys(hook_ids)]
        with self._database.write() as session:
            begin_change(session)
            for some in _batches(ids):
                there = set(session.scalars(select(HookRow.hook_id).where(HookRow.hook_id.in_(some))))
                for hook_id in some:
                    if hook_id not in there:
                        raise _missing(hook_id)
                session.execute(delete(ScopeRow).where(ScopeRow.hook_id.in_(some)))
                session.execute(delete(HookRow).where(HookRow.hook_id.in_(some)))
        return len(ids)


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))


def _refuse_id(session: Session, hook_id: str) -> None:
    if session.get(HookRow, hook_id) is not None:
        raise AlreadyStoredError(f"there is a hook {hook_id} already")


def _check_versions(session: Session, hook: StoredHook) -> None:
    for identifier in (hook.active, hook.previous):
        if identifier is not None and session.get(PluginRow, identifier) is None:
            raise NotStoredError(f"{identifier} is not installed, so the hook {hook.hook_id} cannot be served by it")


def _values(hook: StoredHook) -> dict[str, object]:
    values = asdict(hook) | {"groups": list(hook.groups)}
    check_row(HookRow, values)
    return values


def _read(row: HookRow) -> StoredHook:
    return StoredHook(
        hook_id=row.hook_id,
        tenant_id=row.tenant_id,
        plugin_id=row.plugin_id,
        groups=tuple(row.groups),
        active=row.active,
        previous=row.previous,
        enabled=row.enabled,
        settings=row.settings,
        secrets=row.secrets,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _missing(hook_id: str) -> NotStoredError:
    return NotStoredError(f"there is no hook {hook_id}")

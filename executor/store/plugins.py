"""Installed versions of plugins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from sqlalchemy import select
from sqlalchemy.orm import Session

from executor.errors import name_some
from executor.store.changes import begin_change
from executor.store.database import Database
from executor.store.errors import AlreadyStoredError, InUseError, NotStoredError
from executor.store.records import InstalledPlugin
from executor.store.tables import HookRow, PluginRow
from executor.store.values import check_row, make_text

__all__ = ["PluginRepository"]


class PluginRepository:
    """The installed versions of plugins. Every method raises `StoreError` when the database cannot be used.

    Args:
        database: Borrowed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, plugin: InstalledPlugin) -> None:
        """Keep a version that was installed.

        Raises:
            AlreadyStoredError: This very version is there.
        """
        with self._database.write() as session:
            begin_change(session)
            if session.get(PluginRow, plugin.identifier) is not None:
                raise AlreadyStoredError(f"{plugin.identifier} is installed already")
            session.add(PluginRow(**_values(plugin)))

    def get(self, identifier: str) -> InstalledPlugin | None:
        """Find one version."""
        with self._database.read() as session:
            row = session.get(PluginRow, identifier)
            return None if row is None else _read(row)

    def list(self, plugin_id: str | None = None) -> tuple[InstalledPlugin, ...]:
        """List the versions of one plugin, `author/name`, or of all; those of one by the time of their installation."""
        query = select(PluginRow).order_by(PluginRow.author, PluginRow.name, PluginRow.installed_at)
        if plugin_id is not None:
            author, _, name = plugin_id.partition("/")
            query = query.where(PluginRow.author == author, PluginRow.name == name)
        with self._database.read() as session:
            return tuple(_read(row) for row in session.scalars(query))

    def update(self, identifier: str, change: Callable[[InstalledPlugin], InstalledPlugin]) -> InstalledPlugin:
        """Replace what is kept of a version, atomically.

        Args:
            identifier: Of the version. It cannot change.
            change: Makes the new record of the present one.

        Returns:
            The new record.

        Raises:
            NotStoredError: It is not installed.
        """
        with self._database.write() as session:
            begin_change(session)
            row = session.get(PluginRow, identifier)
            if row is None:
                raise _missing(identifier)
            changed = change(_read(row))
            for name, value in (_values(changed) | {"identifier": identifier}).items():
                setattr(row, name, value)
            return changed

    def remove(self, identifier: str) -> InstalledPlugin:
        """Forget a version, and that hooks were served by it before.

        Returns:
            What was kept of it.

        Raises:
            NotStoredError: It is not installed.
            InUseError: A hook is served by it.
        """
        with self._database.write() as session:
            begin_change(session)
            row = session.get(PluginRow, identifier)
            if row is None:
                raise _missing(identifier)
            used_by = session.scalars(select(HookRow.hook_id).where(HookRow.active == identifier)).all()
            if used_by:
                hint = f"`executor hook remove --plugin {identifier.partition('@')[0]}`"
                serves = f"{identifier} serves the hooks {name_some(sorted(used_by))}"
                raise InUseError(f"{serves}; upgrade or remove them first, as with {hint}")
            removed = _read(row)
            _forget_previous(session, identifier)
            session.delete(row)
            return removed


def _forget_previous(session: Session, identifier: str) -> None:
    for hook in session.scalars(select(HookRow).where(HookRow.previous == identifier)):
        hook.previous = None
    session.flush()


def _values(plugin: InstalledPlugin) -> dict[str, object]:
    """Make the columns of a row; what a build has said becomes text, whatever it is."""
    problem = plugin.environment_problem
    values = asdict(plugin) | {"environment_problem": None if problem is None else make_text(problem)}
    check_row(PluginRow, values)
    return values


def _read(row: PluginRow) -> InstalledPlugin:
    return InstalledPlugin(
        identifier=row.identifier,
        author=row.author,
        name=row.name,
        version=row.version,
        checksum=row.checksum,
        digest=row.digest,
        folder=row.folder,
        declaration=row.declaration,
        verified=row.verified,
        signed_by=row.signed_by,
        installed_at=row.installed_at,
        environment=row.environment,
        environment_problem=row.environment_problem,
    )


def _missing(identifier: str) -> NotStoredError:
    return NotStoredError(f"{identifier} is not installed")

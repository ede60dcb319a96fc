"""Bringing a database to the tables that this program knows.

Everything happens in one transaction that the caller has begun and that excludes other programs, so that a step is
taken once, and as a whole or not at all: both databases make tables within transactions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, inspect, text

from executor.store.errors import StoreVersionError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

__all__ = ["HEAD", "REVISION_TABLE", "migrate", "read_revision", "script_directory"]

HEAD: Final = "0001"
"""The newest step of `migrations`."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"
REVISION_TABLE: Final = "executor_revision"


def read_revision(connection: Connection) -> str | None:
    """Tell which step the database has come to; `None` when it has none of our tables."""
    if not inspect(connection).has_table(REVISION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {REVISION_TABLE}")).scalar()  # noqa: S608 - a constant


def migrate(connection: Connection, *, target: str = HEAD) -> str | None:
    """Take the steps that are missing.

    Args:
        connection: In a transaction that no other program can be in at the same time.
        target: The last step to take.

    Returns:
        The step that the database was at; `None` for an empty one.

    Raises:
        StoreVersionError: The database has come to a step that this program does not know.
    """
    found = read_revision(connection)
    if found == target:
        return found
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    scripts = script_directory()
    known = [step.revision for step in scripts.walk_revisions()]
    if found is not None and found not in known:
        raise StoreVersionError(
            f"it was written by a newer version of this program (its tables are at revision {found}, this program "
            f"knows them up to {HEAD}); use the newer version, or restore a backup from before"
        )
    options = {"version_table": REVISION_TABLE, "fn": lambda current, _: scripts._upgrade_revs(target, current)}  # noqa: SLF001 - what Alembic's own command does
    context = MigrationContext.configure(connection, opts=options)
    with Operations.context(context):
        context.run_migrations()
    return found


def script_directory() -> ScriptDirectory:
    """Find the steps."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS)])

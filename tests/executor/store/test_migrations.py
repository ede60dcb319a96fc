"""Every step from one revision of the tables to the next, with rows in them; and a step that fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from executor.store import schema
from executor.store.database import FILE, Database, open_postgresql, open_sqlite, parse_url
from executor.store.errors import StoreVersionError
from executor.store.schema import HEAD, MIGRATIONS, REVISION_TABLE, migrate, read_revision, script_directory
from executor.store.store import open_store
from tests.executor.store.support import Place, make_hook, make_plugin

NEXT = "9999"
STEP = """
import sqlalchemy as sa
from alembic import op

revision = "NEXT"
down_revision = "HEAD"

def upgrade():
    op.add_column("executor_hooks", sa.Column("note", sa.Text()))
    op.execute("UPDATE executor_hooks SET note = hook_id || '!'")
    op.create_table("executor_more", sa.Column("id", sa.Integer(), primary_key=True))
""".replace("NEXT", NEXT).replace("HEAD", HEAD)
"""A step as the next one could be."""
Rows = dict[str, list[dict[str, Any]]]
REVISIONS = [step.revision for step in reversed(list(script_directory().walk_revisions()))]
STEPS = list(zip(REVISIONS, [*REVISIONS[1:], NEXT], strict=True))


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """An empty database, without any table."""
    place.state_dir.mkdir()
    opened = open_sqlite(place.state_dir / FILE) if place.url is None else open_postgresql(parse_url(place.url))
    with closing(opened):
        yield opened


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of steps, with one more; the file of that one."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(schema, "MIGRATIONS", folder)
    file = folder / "r9999_next.py"
    file.write_text(STEP)
    return file


def fill(connection: sa.Connection) -> Rows:
    """Put rows into every table, whichever columns it has; what was put in."""
    metadata = sa.MetaData()
    metadata.reflect(connection)
    filled: Rows = {}
    for table in metadata.sorted_tables:
        if table.name in {REVISION_TABLE, "executor_changes"}:
            continue
        filled[table.name] = [
            {column.name: make_value(column, number) for column in table.columns} for number in range(1, 4)
        ]
        connection.execute(table.insert(), filled[table.name])
    return filled


def make_value(column: sa.Column[Any], number: int) -> object:
    """A value for a column; the same number makes the same, so that rows refer to each other."""
    if isinstance(column.type, sa.JSON):
        return {"number": number, "text": "ü"}
    if isinstance(column.type, sa.Boolean):
        return bool(number % 2)
    if isinstance(column.type, sa.LargeBinary):
        return bytes([number, 0, 255])
    if isinstance(column.type, sa.Float):
        return number + 0.25
    return number if isinstance(column.type, sa.Integer) else f"{number} 🐈"


def read(connection: sa.Connection, expected: Mapping[str, list[dict[str, Any]]]) -> Rows:
    """The rows of tables, with the columns that are expected only."""
    metadata = sa.MetaData()
    metadata.reflect(connection)
    found: Rows = {}
    for name, rows in expected.items():
        table = metadata.tables[name]
        query = sa.select(*(table.c[column] for column in rows[0])).order_by(*table.primary_key.columns)
        found[name] = [dict(row._mapping) for row in connection.execute(query)]
    return found


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_a_step_keeps_what_is_there(database: Database, steps: Path, before: str, after: str) -> None:
    """In every table and column; the last step is one that is made up."""
    with database.connection() as connection:
        migrate(connection, target=before)
        filled = fill(connection)
        connection.commit()
    assert set(filled) >= {"executor_plugins", "executor_hooks", "executor_storage_entries"}
    with database.connection() as connection:
        assert migrate(connection, target=after) == before
        connection.commit()
    with database.connection() as connection:
        assert read_revision(connection) == after
        assert read(connection, filled) == filled
        if after == NEXT:
            notes = connection.execute(sa.text("SELECT note FROM executor_hooks ORDER BY hook_id")).scalars().all()
            assert notes == [f"{number} 🐈!" for number in range(1, 4)]


def test_a_step_that_fails_changes_nothing(database: Database, steps: Path) -> None:
    """Neither the tables nor the revision, although it had made some of its changes."""
    with database.connection() as connection:
        migrate(connection)
        filled = fill(connection)
        connection.commit()
    steps.write_text(f"{STEP}    raise RuntimeError('no')\n")
    with pytest.raises(RuntimeError, match="no"), database.connection() as connection:
        migrate(connection, target=NEXT)
    with database.connection() as connection:
        assert read_revision(connection) == HEAD
        assert read(connection, filled) == filled
        assert not sa.inspect(connection).has_table("executor_more")
        columns = {column["name"] for column in sa.inspect(connection).get_columns("executor_hooks")}
        assert "note" not in columns


def test_a_store_is_brought_up_to_date_when_it_is_opened(
    place: Place, steps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the newer program; the older one then refuses it."""
    with open_store(place.url, place.state_dir) as store:
        store.plugins.add(make_plugin())
        store.hooks.add(make_hook())
    monkeypatch.setattr(migrate, "__kwdefaults__", {"target": NEXT})
    with open_store(place.url, place.state_dir) as store, store._database.connection() as connection:
        assert read_revision(connection) == NEXT
        assert connection.execute(sa.text("SELECT note FROM executor_hooks")).scalars().all() == ["hook000000000001!"]
    monkeypatch.undo()
    with pytest.raises(StoreVersionError, match=f"at revision {NEXT}, this program knows them up to {HEAD}"):
        open_store(place.url, place.state_dir)

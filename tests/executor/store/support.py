"""What the tests of the store have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from executor.store.database import Database
from executor.store.records import InstalledPlugin, StoredHook
from executor.store.tables import EntryRow, ScopeRow

__all__ = ["Place", "check_counters", "make_hook", "make_plugin"]


@dataclass(frozen=True)
class Place:
    """Where a store is: what `open_store` takes."""

    url: str | None
    state_dir: Path

    @property
    def database(self) -> str:
        """The name of the database on its server."""
        assert self.url is not None
        return self.url.partition("@/")[2].partition("?")[0]


def make_plugin(version: str = "1.0.0", *, name: str = "cat", checksum: str = "0" * 64) -> InstalledPlugin:
    """An installed plugin."""
    return InstalledPlugin(
        identifier=f"tester/{name}:{version}@{checksum}",
        author="tester",
        name=name,
        version=version,
        checksum=checksum,
        digest="d" * 64,
        folder=f"/plugins/{name}-{version}",
        declaration={"label": {"en_US": "Katze 🐈"}, "endpoints": 3, "tags": [None, True, 1.5]},
        installed_at=1_700_000_000.25,
    )


def make_hook(hook_id: str = "hook000000000001", *, plugin: InstalledPlugin | None = None) -> StoredHook:
    """A hook of a plugin."""
    plugin = plugin or make_plugin()
    return StoredHook(
        hook_id=hook_id,
        plugin_id=plugin.plugin_id,
        groups=("group/a.yaml", "group/b.yaml"),
        active=plugin.identifier,
        settings={"colour": "pink", "deep": {"list": [1, None, "ü"]}},
        secrets={"token": "ciphertext"},
        created_at=1_700_000_001.5,
        updated_at=1_700_000_001.5,
    )


def check_counters(database: Database) -> None:
    """Check that each scope counts the bytes and keys that it has, and each entry its own bytes."""
    totals = (
        select(EntryRow.scope_id, func.count().label("number"), func.sum(EntryRow.size).label("total"))
        .group_by(EntryRow.scope_id)
        .subquery()
    )
    counted = select(ScopeRow.used_bytes, ScopeRow.keys, totals.c.total, totals.c.number).join(
        totals, totals.c.scope_id == ScopeRow.scope_id, isouter=True
    )
    wrong = select(EntryRow.key).where(EntryRow.size != func.length(EntryRow.value))
    with database.read() as session:
        for used_bytes, keys, total, number in session.execute(counted):
            assert (used_bytes, keys) == (total or 0, number or 0)
        assert session.scalars(wrong).all() == []

"""The store of a running service: swept, watched, closed; and what is said when it is gone and comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog
from sqlalchemy import func, select

from executor.config.load import load_config
from executor.config.model import Config
from executor.config.overrides import Overrides
from executor.errors import StartupError
from executor.store import keeper
from executor.store.keeper import keep_store
from executor.store.storage import StorageScope
from executor.store.store import Store
from executor.store.tables import EntryRow
from tests.executor.store.support import Place
from tests.postgresql import PostgreSQL


def configure(place: Place) -> Config:
    """A configuration that names a store."""
    place.state_dir.mkdir(exist_ok=True)
    file = place.state_dir / "executor.yaml"
    file.write_text("" if place.url is None else f"store:\n  url: {place.url}\n")
    return load_config(file, Overrides(state_dir=place.state_dir))


def test_what_has_expired_is_removed_while_it_runs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, without anybody who asks for it."""
    monkeypatch.setattr(keeper, "SWEEP_INTERVAL_S", 0.01)
    scope = StorageScope("t", "a/b")

    def count(store: Store) -> int:
        with store._database.read() as session:
            return session.scalars(select(func.count()).select_from(EntryRow)).one()

    async def run() -> None:
        states: asyncio.Queue[bool] = asyncio.Queue()
        async with keep_store(configure(place), states.put_nowait) as store:
            for _ in range(2):
                store.storage.set(scope, "goes", b"x", quota_bytes=1, ttl_s=0.001)
                store.storage.set(StorageScope("u", "a/b"), "stays", b"", quota_bytes=1)
                while count(store) != 1:
                    assert await states.get()

    asyncio.run(run())


def test_a_server_that_goes_and_comes_back(server: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told once each, and needs no restart of the service."""
    monkeypatch.setattr(keeper, "SWEEP_INTERVAL_S", 0.01)
    place = Place(server.make_database(), tmp_path)
    name = place.database

    async def run() -> list[str]:
        states: asyncio.Queue[bool] = asyncio.Queue()
        with structlog.testing.capture_logs() as logs:
            async with keep_store(configure(place), states.put_nowait):
                assert await states.get()
                server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                server.kill_connections(name)
                while await states.get():
                    pass
                server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
                while not await states.get():
                    pass
        return [event["event"] for event in logs]

    assert asyncio.run(run()) == ["store.opened", "store.unavailable", "store.available"]


def test_a_store_that_cannot_be_opened_ends_the_start(tmp_path: Path) -> None:
    """With the sentence of the store."""
    (tmp_path / "executor.db").mkdir()

    async def run() -> None:
        async with keep_store(load_config(None, Overrides(state_dir=tmp_path)), lambda _: None):
            pass

    with pytest.raises(StartupError, match=r"executor\.db cannot be opened for writing"):
        asyncio.run(run())

"""Every test of the store runs on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.store.store import Store, open_store
from tests.executor.store.support import Place
from tests.postgresql import PostgreSQL


@pytest.fixture
def server(postgresql: PostgreSQL) -> PostgreSQL:
    """The PostgreSQL server."""
    return postgresql


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty database."""
    if request.param == "sqlite":
        return Place(None, tmp_path / "state")
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return Place(server.make_database(), tmp_path / "state")


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    """An open store, with nothing in it."""
    with open_store(place.url, place.state_dir) as opened:
        yield opened

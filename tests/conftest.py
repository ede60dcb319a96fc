"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.postgresql import PostgreSQL, postgresql_server

# A property holds or does not, however busy the machine is: no example fails for being slow. `make fuzz` looks longer.
settings.register_profile("patient", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def same_logging() -> Iterator[None]:
    """Give every test the logging that there was: commands that run in this process set up their own."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server, for all tests of this process."""
    with postgresql_server() as running:
        yield running


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests with a PostgreSQL server to one process of pytest-xdist, so that it is started once."""
    for item in items:
        if isinstance(item, pytest.Function):
            given = item.callspec.params.values() if hasattr(item, "callspec") else ()
            if "postgresql" in item.fixturenames or "postgresql" in given:
                item.add_marker(pytest.mark.xdist_group("postgresql"))

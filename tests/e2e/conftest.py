"""One service for the tests that only ask; tests that break or stop it start their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import LAB, Executor


@pytest.fixture(scope="session")
def lab() -> Iterator[Executor]:
    """The lab plugin, served with the defaults."""
    with Executor(LAB) as executor:
        yield executor


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that share a service of their module to one process of pytest-xdist, so that it is started once."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents and isinstance(item, pytest.Function) and (shared := shared_by(item)):
            item.add_marker(pytest.mark.xdist_group(f"{item.path.stem} {shared}"))


def shared_by(item: pytest.Function) -> str:
    """Name the fixtures that a test has in common with others of its module, with their parameters."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    scopes = {name: fixtures[-1].scope for name, fixtures in item._fixtureinfo.name2fixturedefs.items()}
    return " ".join(f"{name} {given.get(name, '')}" for name, scope in sorted(scopes.items()) if scope == "module")

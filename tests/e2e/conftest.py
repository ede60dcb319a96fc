"""One service for the tests that only ask; tests that break or stop it start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.harness import LAB, Executor


@pytest.fixture(scope="session")
def lab() -> Iterator[Executor]:
    """The lab plugin, served with the defaults."""
    with Executor(LAB) as executor:
        yield executor

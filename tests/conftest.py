"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# A property holds or does not, however busy the machine is: no example fails for being slow. `make fuzz` looks longer.
settings.register_profile("patient", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def same_logging() -> Iterator[None]:
    """Give every test the logging that there was: commands that run in this process set up their own."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)

"""Real zygotes for the tests of real workers, and a watch over what a test leaves open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol import ZygoteReady
from tests.worker.driver import BaseZygote, Plugin, ZygoteDriver


@pytest.fixture(scope="session")
def base_zygote() -> Iterator[BaseZygote]:
    """The base zygote, as the executor starts it."""
    zygote = BaseZygote()
    zygote.report(ZygoteReady)
    yield zygote
    zygote.close()
    assert zygote.process.returncode == 0


@pytest.fixture(scope="session")
def zygote(base_zygote: BaseZygote) -> Iterator[ZygoteDriver]:
    """A plugin's zygote."""
    zygote = base_zygote.fork_zygote()
    zygote.report(ZygoteReady)
    yield zygote
    zygote.close()


def count_descriptors() -> int:
    """How many descriptors this process has, that of the listing included."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def plugin(zygote: ZygoteDriver, tmp_path: Path) -> Iterator[Plugin]:
    """An empty plugin."""
    before = count_descriptors()
    plugin = Plugin(zygote, tmp_path)
    yield plugin
    plugin.close()
    assert count_descriptors() == before, "the test has left descriptors open"

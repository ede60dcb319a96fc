"""Real zygotes for the tests of real workers, and a watch over what a test leaves open."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol import Exited
from tests.worker.driver import BaseZygote, Plugin, SlotDriver, WorkerDriver, ZygoteDriver, base_with_pipe


@pytest.fixture(scope="session")
def base_zygote() -> Iterator[BaseZygote]:
    """The base zygote, as the executor starts it."""
    zygote = BaseZygote()
    zygote.wait_ready()
    yield zygote
    zygote.close()
    assert zygote.process.returncode == 0


@pytest.fixture(scope="session")
def plugin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a plugin that workers of every identity can read."""
    folder = tmp_path_factory.mktemp("plugin")
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def zygote(base_zygote: BaseZygote, plugin_folder: Path) -> Iterator[ZygoteDriver]:
    """The zygote of the plugin that every test writes anew."""
    zygote = base_zygote.fork_zygote(plugin_root=plugin_folder)
    zygote.wait_ready()
    yield zygote
    zygote.close()


@pytest.fixture
def own_base() -> Iterator[BaseZygote]:
    """A base zygote that the test may end, its descriptor 2 a pipe."""
    with base_with_pipe() as zygote:
        yield zygote


def count_descriptors(zygote: ZygoteDriver) -> int:
    """How many descriptors this process has besides those of the zygote's slots."""
    return len(list(Path("/proc/self/fd").iterdir())) - len(zygote.slots)


@pytest.fixture
def plugin(zygote: ZygoteDriver, plugin_folder: Path) -> Iterator[Plugin]:
    """An empty plugin."""
    before = count_descriptors(zygote)
    plugin = Plugin(zygote, plugin_folder)
    yield plugin
    plugin.close()
    for path in plugin_folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert count_descriptors(zygote) == before, "the test has left descriptors open"


@pytest.fixture
def slot(zygote: ZygoteDriver) -> Iterator[SlotDriver]:
    """A slot that the test may end."""
    slot = zygote.fork_slot()
    yield slot
    slot.close()
    zygote.report(Exited, slot.id)


@pytest.fixture
def workers() -> Iterator[list[WorkerDriver]]:
    """Workers to be closed."""
    workers: list[WorkerDriver] = []
    yield workers
    for worker in workers:
        worker.close()

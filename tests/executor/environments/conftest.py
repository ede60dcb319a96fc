"""What tests of environments share: an index of a few packages, a plugin, a builder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.config.environments import EnvironmentSettings
from executor.config.isolation import Isolation
from executor.environments.builder import EnvironmentBuilder
from executor.isolation.host import HostIsolation
from tests.executor.environments.packages import Index


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """An index with a `dify_plugin` in it."""
    return Index(tmp_path / "index")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin's folder that asks for the Python that runs this, and for `dify_plugin`."""
    root = tmp_path / "plugin"
    root.mkdir()
    version = f"3.{sys.version_info.minor}"
    (root / "manifest.yaml").write_text(f'meta:\n  runner:\n    language: python\n    version: "{version}"\n')
    (root / "requirements.txt").write_text("dify_plugin\n")
    return root


@pytest.fixture(scope="session")
def host() -> Iterator[HostIsolation]:
    """What builds are isolated with."""
    host = HostIsolation(Isolation())
    yield host
    host.close()


@pytest.fixture
def builder(tmp_path: Path, index: Index, host: HostIsolation) -> Iterator[EnvironmentBuilder]:
    """A builder that knows the index only."""
    settings = EnvironmentSettings(index_url=index.url, pythons=(Path(sys.executable),))
    with EnvironmentBuilder(tmp_path / "state", settings, host) as builder:
        yield builder

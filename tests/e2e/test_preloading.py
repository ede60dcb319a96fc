"""What sources import from elsewhere is there when a worker begins, and switched off where the operator wants that."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import pytest

from tests.e2e.harness import Executor
from tests.e2e.test_lifecycle import copy_lab
from tests.environments import ordinary_user, python_for

pytestmark = pytest.mark.e2e

SOURCE = """
import sys

before = {name for name in ("decimal", "httpx", "own", "sqlite3") if name in sys.modules}

import httpx
import own
from dify_plugin import Endpoint
from werkzeug import Response


class Imports(Endpoint):
    def _invoke(self, r, values, settings):
        import sqlite3
        return Response(" ".join(sorted(before)))
"""
DECLARATION = "  - {path: /imports, method: GET, extra: {python: {source: endpoints/imports.py}}}\n"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin that tells what was there before it imported anything."""
    return make_plugin(tmp_path)


def make_plugin(folder: Path) -> Path:
    """Make such a plugin in a folder."""
    root = copy_lab(folder)
    (root / "own.py").write_text("import decimal")
    (root / "endpoints" / "imports.py").write_text(SOURCE)
    with (root / "group.yaml").open("a") as file:
        file.write(DECLARATION)
    return root


def test_workers_find_what_sources_import(plugin: Path) -> None:
    """Of every module of the plugin, in functions too, but no module of the plugin itself."""
    with Executor(plugin) as executor:
        assert executor.get("/imports").text == "decimal httpx sqlite3"


def test_as_an_ordinary_user() -> None:
    """Whose zygote sees its view by other means."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        python, user = python_for(folder), ordinary_user()
        with Executor(make_plugin(folder), python=python, user=user) as executor:
            assert executor.get("/imports").text == "decimal httpx sqlite3"


def test_switched_off(plugin: Path) -> None:
    """From the reload on, for new workers."""
    config: dict[str, object] = {"plugins": [str(plugin)]}
    with Executor(config=config) as executor:
        assert executor.get("/imports").text == "decimal httpx sqlite3"
        executor.write_config(config | {"environments": {"preload": False}})
        executor.process.send_signal(signal.SIGHUP)
        executor.wait_event("service.reloaded")
        assert executor.get("/imports").text == ""

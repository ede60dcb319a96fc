"""`executor check --load` imports every endpoint in a real worker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from executor.cli.main import create_app
from tests.executor.catalog.plugins import GOOD, write_plugin

BASES = "from dify_plugin import Endpoint\n\n\nclass Base(Endpoint):\n    def _invoke(self, r, values, settings): ...\n"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("import module_that_is_missing\n", "No module named 'module_that_is_missing'"),
        ("raise RuntimeError('at import')\n", "at import"),
        ("exec(open('bases.txt').read())\n", "subclasses of dify_plugin.Endpoint found"),
    ],
)
def test_what_only_an_import_shows(tmp_path: Path, extra: str, message: str) -> None:
    """The static check is content; the import is not."""
    source = GOOD["endpoints/cat.py"]
    assert isinstance(source, str)
    root = write_plugin(tmp_path, {**GOOD, "bases.txt": BASES, "endpoints/cat.py": extra + source})
    runner = CliRunner()
    assert runner.invoke(create_app(), ["check", str(root)]).exit_code == 0
    result = runner.invoke(create_app(), ["check", str(root), "--load"])
    assert result.exit_code == 1
    assert f"{root}/endpoints/cat.py: error: " in result.output
    assert message in result.output
    assert "[source.load]" in result.output
    assert "0 of 1 can be served" in result.output


def test_json_stays_json(tmp_path: Path) -> None:
    """What the worker's start logs does not get in between."""
    root = write_plugin(tmp_path)
    command = [sys.executable, "-m", "executor", "check", "--load", "--format", "json", str(root)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout)["errors"] == 0
    assert ended.stderr == ""


def test_a_good_plugin_loads(tmp_path: Path) -> None:
    """Nothing is found, and nothing is left behind."""
    result = CliRunner().invoke(create_app(), ["check", str(write_plugin(tmp_path)), "--load"])
    assert result.exit_code == 0, result.output
    assert not list(tmp_path.rglob("__pycache__"))

"""The steps that change tables are in what is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OPEN = """
import sys
from pathlib import Path
import executor
from executor.store.store import open_store
with open_store(None, Path(sys.argv[1])) as store:
    print(executor.__file__, store.generation())
"""


@pytest.mark.slow
def test_an_installed_program_makes_the_tables(tmp_path: Path) -> None:
    """From the wheel alone."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(tmp_path / "state")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{installed / 'executor' / '__init__.py'} 0\n"

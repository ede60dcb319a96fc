"""`executor doctor`; tests/sandbox has what a worker sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from executor.cli.main import create_app

SERVICE = "plugins: [./cat]\nhooks: {cat: {settings: {token: {from_env: ONLY_THE_SERVICE_HAS_IT}}}}\n"


def run(folder: Path, isolation: str) -> Result:
    """Run the command with the configuration of a service."""
    file = folder / "executor.yaml"
    file.write_text(f"{SERVICE}isolation: {isolation}\n")
    return CliRunner(env={"COLUMNS": "200"}).invoke(create_app(), ["doctor", "--config", str(file)])


def test_what_is_wrong_with_the_section_is_told(tmp_path: Path) -> None:
    """With its place; the rest of the file is not looked at."""
    done = run(tmp_path, "{off: [nope]}")
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path}/executor.yaml:3:")
    assert "isolation.off[0]: expected a layer" in line


@pytest.mark.e2e
def test_what_only_the_service_has_is_not_needed(tmp_path: Path) -> None:
    """Whoever asks need not have the secrets of the service."""
    done = run(tmp_path, "{off: [seccomp]}")
    assert "ONLY_THE_SERVICE_HAS_IT" not in done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split()[:3] == ["LAYER", "STATE", "REQUIRED"]
    assert ["seccomp", "off"] in [row.split()[:2] for row in rows]

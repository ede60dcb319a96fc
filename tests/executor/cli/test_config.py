"""`executor config`: show, check, schema, reference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from executor.cli.main import create_app

DOCUMENT = Path(__file__).parents[3] / "docs" / "settings.md"


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(create_app(), ["config", *arguments])


def write(folder: Path, text: str) -> str:
    """Write a configuration file."""
    file = folder / "executor.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_the_effective_configuration_is_shown(tmp_path: Path) -> None:
    """As YAML on standard output; notes on standard error."""
    file = write(tmp_path, "limits: {concurrency: 100}\nhooks: {cat: {settings: {key: classified}}}\n")
    result = run("show", "--config", file, "--set", "cat.other=hidden")
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["limits"]["concurrency"] == 100
    assert "classified" not in result.stdout
    assert f"# key: hidden, given in {file}:2:31" in result.stdout
    assert "note: " in result.stderr
    assert "admission.concurrency is 64" in result.stderr


def test_the_defaults_are_shown_without_a_file(tmp_path: Path) -> None:
    """To begin a new file with."""
    result = run("show")
    assert result.exit_code == 0
    again = run("check", write(tmp_path, result.stdout))
    assert again.exit_code == 0


def test_a_wrong_configuration_is_not_shown(tmp_path: Path) -> None:
    """But what is wrong with it."""
    result = run("show", "--config", write(tmp_path, "debug: 1\nlog: 2\n"))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert [line.split(":")[2] for line in result.stderr.splitlines()] == ["1", "2"]


def test_a_file_is_checked(tmp_path: Path) -> None:
    """Fine or not, by the exit status."""
    result = run("check", write(tmp_path, "debug: true\n"))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("executor.yaml: can be used\n")
    file = write(tmp_path, "debug: 1\nlimits:\n  wall_tim: 3\n")
    result = run("check", file)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"error: {file}:1:8: debug: expected true or false, found 1",
        f"error: {file}:3:3: limits.wall_tim: there is no such setting; did you mean wall_time?",
    ]


def test_problems_can_be_had_as_json(tmp_path: Path) -> None:
    """For editors and pipelines; also when there are none, or only notes."""
    file = write(tmp_path, "debug: 1\n")
    result = run("check", file, "--format", "json")
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)
    assert problem == {
        "severity": "error",
        "name": "debug",
        "place": f"{file}:1:8",
        "file": file,
        "line": 1,
        "column": 8,
        "found": "1",
        "expected": "true or false",
        "message": "expected true or false, found 1",
    }
    result = run("check", write(tmp_path, "limits: {concurrency: 99}"), "--format", "json")
    assert result.exit_code == 0
    assert [problem["severity"] for problem in json.loads(result.stdout)] == ["note"]
    assert json.loads(run("check", write(tmp_path, ""), "--format", "json").stdout) == []
    assert json.loads(run("check", str(tmp_path / "nope"), "--format", "json").stdout)[0]["line"] is None


def test_the_schema_is_printed() -> None:
    """As JSON."""
    assert json.loads(run("schema").stdout)["title"] == "Configuration of endpoint-executor"


def test_the_reference_is_printed() -> None:
    """Exactly as it is committed."""
    assert run("reference").stdout == DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["show", "check", "schema"])
def test_help_teaches(command: str) -> None:
    """With examples."""
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"executor config {command}" in result.output

"""`executor limits`: every limit of a hook, where it comes from, and what enforces it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from executor.cli import limits
from executor.cli.limits import HostGroups, draw_limits, find_groups
from executor.cli.main import create_app
from executor.config.limits import Limits
from executor.config.load import load_config
from executor.isolation.enforcement import enforcement
from tests.executor.config.support import load
from tests.executor.installed.support import Lab

EXAMPLE = Path(__file__).parents[3] / "examples" / "rainbow_cat"
V2 = HostGroups("v2", frozenset({"cpu", "memory", "pids"}), swap_limited=True)
NOTHING = HostGroups(None, reason="/sys/fs/cgroup is read-only; mount it writable")


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(create_app(), ["limits", *arguments])


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host with control groups of version 2, where nothing is installed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setattr(limits, "find_groups", lambda _: V2)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin whose manifest asks for 1 MiB of memory."""
    folder = tmp_path / "rainbow_cat"
    shutil.copytree(EXAMPLE, folder)
    manifest = folder / "manifest.yaml"
    lines = manifest.read_text(encoding="utf-8").splitlines()
    changed = ["  memory: 1048576" if line.startswith("  memory: ") else line for line in lines]
    assert changed != lines
    manifest.write_text("\n".join(changed), encoding="utf-8")
    return folder


def write(folder: Path, text: str) -> str:
    """Write a configuration file."""
    file = folder / "executor.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def rows(result: Result) -> dict[str, list[str]]:
    """The rows of the table by limit: value, origin, enforcement."""
    table = [[part.strip() for part in line.split("  ") if part.strip()] for line in result.stdout.splitlines()]
    return {cells[0]: cells[1:] for cells in table if cells[0] in Limits.model_fields}


def test_every_limit_is_a_row(plugin: Path) -> None:
    """With its value, where it comes from, and what enforces it; settings need not be given."""
    result = run("rainbow_cat", str(plugin))
    assert (result.exit_code, result.stderr) == (0, "")
    table = rows(result)
    assert list(table) == list(Limits.model_fields)
    assert table["wall_time"] == ["10m", "default", "the supervisor's clock"]
    assert table["memory"] == [
        "256 MiB",
        "manifest, resource.memory: 1 MiB",
        "control group (v2 memory.max), swap off",
    ]
    assert table["cpu_share"] == ["1 CPU", "default", "control group (v2 cpu.max)"]
    assert table["processes"] == ["128", "default", "control group (v2 pids.max), and RLIMIT_NPROC"]
    *_, hook, host = result.stdout.splitlines()
    assert hook.rstrip() == f"hook rainbow_cat, plugin rainbow_cat 0.1.0 in {plugin}"
    assert host.rstrip() == "control groups: v2 with cpu, memory, pids"


def test_origins_have_places(tmp_path: Path, plugin: Path) -> None:
    """File, line and column of each level, and what lowered a limit."""
    text = f"""\
limits: {{log_line: 1 KiB, scratch_size: 300 MiB}}
plugins: [{{path: {plugin}, limits: {{open_files: 99}}}}]
hooks:
  cat: {{plugin: rainbow_cat, limits: {{wall_time: 5s, cpu_share: 0.5}}}}
"""
    file = write(tmp_path, text)
    result = run("cat", "--config", file)
    assert result.exit_code == 0
    table = rows(result)
    assert table["log_line"][:2] == ["1 KiB", f"general, {file}:1:20"]
    assert table["open_files"][:2] == ["99", f"plugin, {file}:2:{text.splitlines()[1].index(' 99}') + 2}"]
    assert table["wall_time"][:2] == ["5s", f"hook, {file}:4:50"]
    assert table["cpu_share"][0] == "0.5 CPUs"
    assert table["idle_time"][:2] == ["5s", f"lowered to wall_time: hook, {file}:4:50"]
    assert table["scratch_size"][:2] == ["256 MiB", "lowered to memory: manifest, resource.memory: 1 MiB"]


def test_what_only_the_service_has_is_not_needed(tmp_path: Path, plugin: Path) -> None:
    """Values of settings are not fetched for limits."""
    file = write(
        tmp_path, f"plugins: [{plugin}]\nhooks: {{rainbow_cat: {{settings: {{x: {{from_env: NOT_HERE}}}}}}}}\n"
    )
    result = run("rainbow_cat", "--config", file)
    assert (result.exit_code, result.stderr) == (0, "")
    assert rows(result)["wall_time"][0] == "10m"


def test_how_long_workers_live_is_shown(tmp_path: Path, plugin: Path) -> None:
    """The section `worker`, which has the same levels."""
    text = f"""\
worker: {{after_response: 30s}}
plugins: [{plugin}]
hooks: {{cat: {{plugin: rainbow_cat, worker: {{max_invocations: 1000}}}}}}
"""
    file = write(tmp_path, text)
    lines = [
        [part.strip() for part in line.split("  ") if part.strip()]
        for line in run("cat", "--config", file).stdout.splitlines()
    ]
    shown = {cells[0]: cells[1:] for cells in lines if cells[0].startswith("worker.")}
    assert shown == {
        "worker.after_response": ["30s", f"general, {file}:1:26", "the supervisor's clock"],
        "worker.max_invocations": [
            "1000",
            f"hook, {file}:3:{text.splitlines()[2].index('1000') + 1}",
            "the supervisor",
        ],
        "worker.idle_time": ["5m", "default", "the supervisor's clock"],
    }
    worker = json.loads(run("cat", "--config", file, "--format", "json").stdout)["worker"]
    assert worker["after_response"]["value"] == 30
    assert (worker["max_invocations"]["value"], worker["max_invocations"]["level"]) == (1000, "hook")


def test_hooks_of_installed_plugins_are_known(tmp_path: Path) -> None:
    """By their ids, with what the configuration says of all hooks; another id is refused with those that there are."""
    lab = Lab(tmp_path)
    lab.install("0.0.1")
    made = json.loads(
        lab("hook", "create", "cat", "--from-env", "token=T", "--format", "json", environment={"T": "a-long-secret"})
    )
    file = write(tmp_path, "limits: {wall_time: 7s}\nworker: {max_invocations: 5}\n")
    shown = json.loads(lab("limits", made["hook_id"], "--config", file, "--format", "json"))
    assert (shown["plugin"]["name"], shown["plugin"]["version"]) == ("cat", "0.0.1")
    assert (shown["limits"]["wall_time"]["value"], shown["worker"]["max_invocations"]["value"]) == (7, 5)
    assert shown["limits"]["wall_time"]["place"] == f"{file}:1:21"
    assert f"there are: {made['hook_id']}" in lab.refuse("limits", "nobody")


def test_json_is_for_scripts(tmp_path: Path, plugin: Path) -> None:
    """Plain numbers with units."""
    file = write(tmp_path, f"plugins: [{plugin}]\nhooks: {{cat: {{plugin: rainbow_cat, limits: {{wall_time: 5s}}}}}}\n")
    result = run("cat", "--config", file, "--format", "json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["hook"] == "cat"
    assert document["plugin"] == {"name": "rainbow_cat", "version": "0.1.0", "path": str(plugin)}
    assert document["control_groups"] == {"version": "v2", "controllers": ["cpu", "memory", "pids"], "reason": None}
    assert list(document["limits"]) == list(Limits.model_fields)
    assert document["limits"]["idle_time"] == {
        "value": 5.0,
        "unit": "s",
        "shown": "5s",
        "level": "hook",
        "place": f"{file}:2:56",
        "lowered_to": "wall_time",
        "enforced_by": "the supervisor's clock",
    }
    units = {name: item["unit"] for name, item in document["limits"].items()}
    assert (units["memory"], units["cpu_share"], units["processes"]) == ("bytes", "CPUs", None)
    assert document["limits"]["concurrency"]["place"] is None


def test_a_host_without_control_groups_is_told(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason and the remedy, and what stands in for them."""
    monkeypatch.setattr(limits, "find_groups", lambda _: NOTHING)
    result = run("rainbow_cat", str(plugin))
    table = rows(result)
    assert table["memory"][2] == enforcement("memory", None, frozenset())
    assert table["cpu_share"][2] == "not enforced here"
    assert result.stdout.splitlines()[-1].rstrip() == f"no control groups: {NOTHING.reason}"
    document = json.loads(run("rainbow_cat", str(plugin), "--format", "json").stdout)
    assert document["control_groups"] == {"version": None, "controllers": [], "reason": NOTHING.reason}


def test_layers_that_are_off_enforce_nothing(tmp_path: Path, plugin: Path) -> None:
    """And the configuration's warning is repeated."""
    file = write(tmp_path, f"plugins: [{plugin}]\nisolation: {{off: [resource_limits]}}\n")
    result = run("rainbow_cat", "--config", file)
    assert rows(result)["open_files"][2] == "not enforced here"
    assert "warning: " in result.stderr
    assert "ISOLATION IS WEAKENED: resource_limits" in result.stderr


def test_unknown_hooks_are_refused(tmp_path: Path, plugin: Path) -> None:
    """With the known ones, or with how to name any."""
    file = write(tmp_path, f"plugins: [{plugin}]\nhooks: {{b: {{plugin: rainbow_cat}}, a: {{plugin: rainbow_cat}}}}\n")
    result = run("c", "--config", file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: no hook 'c' can be served; there are: a, b\n"
    result = run("c")
    assert result.exit_code == 1
    assert result.stderr == "error: no hook 'c' can be served; there are none; name a plugin folder or --config\n"


def test_hooks_whose_plugin_is_wrong_are_refused_with_the_reason(tmp_path: Path, plugin: Path) -> None:
    """That of the plugin; and a mistake in another plugin is not in the way."""
    broken = tmp_path / "broken"
    broken.mkdir()
    file = write(tmp_path, f"plugins: [{plugin}, {broken}]\nhooks: {{dog: {{}}}}\n")
    result = run("dog", "--config", file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{broken}/manifest.yaml" in result.stderr
    assert "hooks.dog.plugin: there is no plugin named 'dog'" in result.stderr
    assert run("rainbow_cat", "--config", file).exit_code == 0


def test_a_wrong_configuration_is_refused(tmp_path: Path) -> None:
    """With its problems."""
    file = write(tmp_path, "limits: {file_size: 1 TiB}\n")
    result = run("cat", "--config", file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {file}:1:21: limits.file_size: it is larger than scratch_size")


def test_narrow_terminals_fold_long_texts(plugin: Path) -> None:
    """Nothing is cut off."""
    document: dict[str, Any] = json.loads(run("rainbow_cat", str(plugin), "--format", "json").stdout)
    console = Console(width=80, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(draw_limits(document, 80))
    text = captured.get()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "…" not in text
    assert "control group (v2" in text


def test_control_groups_that_are_off_are_not_tried(tmp_path: Path) -> None:
    """The configuration says so."""
    groups = find_groups(load(tmp_path, "isolation: {off: [control_groups]}"))
    assert groups == HostGroups(None, reason="switched off by isolation.off")


def test_the_host_is_asked() -> None:
    """Whatever it has, there is an answer: control groups with controllers, or a reason."""
    groups = find_groups(load_config(None))
    assert (groups.version is None) == bool(groups.reason)
    assert (groups.version is None) == (not groups.controllers)


def test_help_teaches() -> None:
    """With examples."""
    result = run("--help")
    assert result.exit_code == 0
    assert "executor limits cat --config executor.yaml" in result.output

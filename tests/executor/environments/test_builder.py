"""Building environments, for real: uv, the sandbox, and an index of packages that are made on the spot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from executor.config.environments import BuildLimits, EnvironmentSettings
from executor.environments.builder import EnvironmentBuilder
from executor.environments.environment import Environment
from executor.environments.errors import BuildError
from executor.isolation.host import HostIsolation
from tests.executor.environments.packages import Index, make_wheel

pytestmark = pytest.mark.e2e


def build(builder: EnvironmentBuilder, plugin: Path, lines: list[str] | None = None) -> Environment:
    """Build the environment of a plugin whose digest does not matter."""
    return builder.build(plugin, "0" * 64, (lines if lines is not None else []).append)


def ask(environment: Environment, code: str) -> str:
    """Run something in an environment; what is in there, the tests have made."""
    return subprocess.run([environment.python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout


def test_requirements_are_installed(builder: EnvironmentBuilder, plugin: Path, index: Index) -> None:
    """Wheels and source distributions, byte-compiled, and all of it belongs to the executor."""
    index.add("duck-2.0-py3-none-any.whl", make_wheel("duck", "2.0", {"duck.py": "sound = 'quack'"}))
    index.add_sdist("goose")
    (plugin / "requirements.txt").write_text("dify_plugin\nduck>=1\ngoose\n")
    lines: list[str] = []
    environment = build(builder, plugin, lines)

    assert ask(environment, "import duck, goose; print(duck.sound, goose.value, duck.__cached__)").split()[:2] == [
        "quack",
        "1",
    ]
    assert list(environment.folder.glob("lib/python3*/site-packages/__pycache__/duck.*.pyc"))
    record = builder.shelf.find(environment.digest)
    assert record is not None
    assert record.packages == ("dify-plugin==9.0.0", "duck==2.0", "goose==1.0")
    assert {path.lstat().st_uid for path in environment.folder.rglob("*")} == {os.geteuid()}
    assert "resolved 3 packages" in lines
    fetched = [line.split(": ")[1].split(" (")[0] for line in lines if line.startswith("fetched ")]
    assert sorted(fetched) == ["dify_plugin 9.0.0", "duck 2.0", "goose 1.0"], "each is told once"
    assert "building goose==1.0 from source" in lines
    assert "importing dify_plugin" in lines


def test_nothing_but_the_environment_is_left(builder: EnvironmentBuilder, plugin: Path) -> None:
    """No cache, no copy of the plugin, no folder of work; and the plugin's folder is as it was."""
    before = sorted(path.name for path in plugin.rglob("*"))
    environment = build(builder, plugin)
    assert sorted(path.name for path in environment.folder.parent.iterdir()) == ["environment.json", "venv"]
    assert not list((builder.shelf.folder / "work").iterdir())
    assert sorted(path.name for path in plugin.rglob("*")) == before


def test_it_is_built_once(builder: EnvironmentBuilder, plugin: Path, tmp_path: Path) -> None:
    """Another plugin that depends on the same has the same one; one that depends on something else has not."""
    first = build(builder, plugin)
    other = tmp_path / "other"
    other.mkdir()
    for file in plugin.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    lines: list[str] = []
    assert build(builder, other, lines) == first
    assert lines == []
    (other / "requirements.txt").write_text("dify_plugin==9.0.0\n")
    assert build(builder, other).digest != first.digest


def test_it_is_asked_for_again_and_again(builder: EnvironmentBuilder, plugin: Path) -> None:
    """As with every reload: one descriptor keeps it from being removed, however often that was."""
    build(builder, plugin)
    before = psutil.Process().num_fds()
    for _ in range(3):
        build(builder, plugin)
    assert psutil.Process().num_fds() == before


def test_two_who_want_it_at_once_build_it_once(
    tmp_path: Path, builder: EnvironmentBuilder, plugin: Path, host: HostIsolation
) -> None:
    """The second waits for the first, as another process would."""
    lines: list[str] = []
    found: list[Environment] = []
    with EnvironmentBuilder(tmp_path / "state", builder.settings, host) as second:

        def start_second(line: str) -> None:
            if line.startswith("building with"):
                thread.start()
                waiting.wait(60)

        def tell(line: str) -> None:
            lines.append(line)
            waiting.set()

        waiting = threading.Event()
        thread = threading.Thread(target=lambda: found.append(second.build(plugin, "", tell)))
        first = builder.build(plugin, "", start_second)
        thread.join()
        assert found == [first]
        assert lines == ["another process is building this environment; waiting for it"]


def test_a_lock_is_kept_to(builder: EnvironmentBuilder, plugin: Path, index: Index) -> None:
    """The versions and hashes of `uv.lock` count, whichever index it was made with."""
    index.add("duck-1.0-py3-none-any.whl", make_wheel("duck", "1.0", {"duck.py": ""}))
    index.add("duck-2.0-py3-none-any.whl", make_wheel("duck", "2.0", {"duck.py": ""}))
    version = f"3.{sys.version_info.minor}"
    (plugin / "pyproject.toml").write_text(
        f'[project]\nname = "plugin"\nversion = "1"\nrequires-python = "=={version}.*"\n'
        'dependencies = ["dify_plugin", "duck<2"]\n[dependency-groups]\ndev = ["not-there"]\n'
    )
    lock(plugin, index)
    (plugin / "uv.lock").write_text(
        (plugin / "uv.lock").read_text().replace(index.url, "https://elsewhere.invalid/simple")
    )
    index.add("duck-1.5-py3-none-any.whl", make_wheel("duck", "1.5", {"duck.py": ""}))
    record = builder.shelf.find(build(builder, plugin).digest)
    assert record is not None
    assert record.kind == "lock"
    assert record.packages == ("dify-plugin==9.0.0", "duck==1.0")


def test_another_file_than_the_locked_one_is_refused(builder: EnvironmentBuilder, plugin: Path, index: Index) -> None:
    """An index that has something else under the same name does not get it installed."""
    index.add("duck-1.0-py3-none-any.whl", make_wheel("duck", "1.0", {"duck.py": ""}))
    (plugin / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\ndependencies = ["dify_plugin", "duck"]\n'
    )
    lock(plugin, index)
    index.add("duck-1.0-py3-none-any.whl", make_wheel("duck", "1.0", {"duck.py": "evil = True"}))
    with pytest.raises(BuildError, match=r"(?i)hash"):
        build(builder, plugin)


def lock(plugin: Path, index: Index) -> None:
    """Make `uv.lock` without what is for development."""
    import uv

    text = (plugin / "pyproject.toml").read_text()
    (plugin / "pyproject.toml").write_text(text.partition("[dependency-groups]")[0])
    command = [uv.find_uv_bin(), "lock", "--no-config", "--default-index", index.url, "--python", sys.executable]
    subprocess.run(command, cwd=plugin, check=True, capture_output=True)
    (plugin / "pyproject.toml").write_text(text)


def test_pyproject_without_a_lock(builder: EnvironmentBuilder, plugin: Path, index: Index) -> None:
    """It counts before `requirements.txt`, and no lock is written into the plugin's folder."""
    index.add("duck-1.0-py3-none-any.whl", make_wheel("duck", "1.0", {"duck.py": ""}))
    (plugin / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\ndependencies = ["dify_plugin", "duck"]\n'
    )
    record = builder.shelf.find(build(builder, plugin).digest)
    assert record is not None
    assert (record.kind, record.packages) == ("pyproject", ("dify-plugin==9.0.0", "duck==1.0"))
    assert not (plugin / "uv.lock").exists()


def test_wheels_in_the_folder_and_further_files(builder: EnvironmentBuilder, plugin: Path) -> None:
    """Requirements may be files of the plugin, and name other requirements files; options for indexes do not count."""
    (plugin / "wheels").mkdir()
    (plugin / "wheels" / "duck-3.0-py3-none-any.whl").write_bytes(make_wheel("duck", "3.0", {"duck.py": ""}))
    (plugin / "more.txt").write_text(
        "--extra_index_url https://elsewhere.invalid/simple\n./wheels/duck-3.0-py3-none-any.whl\n"
    )
    (plugin / "requirements.txt").write_text("-i https://elsewhere.invalid/simple\n-r more.txt\ndify_plugin\n")
    lines: list[str] = []
    environment = build(builder, plugin, lines)
    assert ask(environment, "import duck; print(duck.__name__)") == "duck\n"
    assert sum("is left out" in line for line in lines) == 2


def test_what_is_on_no_index_is_told(builder: EnvironmentBuilder, plugin: Path, index: Index) -> None:
    """Which package, on which index, with uv's own words, and nothing is left behind."""
    (plugin / "requirements.txt").write_text("dify_plugin\nunheard-of>=3\n")
    with pytest.raises(BuildError, match=r"unheard-of was not found") as caught:
        build(builder, plugin)
    assert caught.value.advice == f"unheard-of is on none of the indexes that are used: {index.url}"
    assert builder.shelf.records() == ()
    assert not list((builder.shelf.folder / "work").iterdir())


def test_a_source_distribution_that_does_not_build(builder: EnvironmentBuilder, plugin: Path, index: Index) -> None:
    """The report has the last lines of what its build has said."""
    index.add_sdist("broken", "raise SystemExit('no compiler for broken')")
    (plugin / "requirements.txt").write_text("dify_plugin\nbroken\n")
    with pytest.raises(BuildError, match="no compiler for broken") as caught:
        build(builder, plugin)
    assert "could not be built from source" in caught.value.advice


@pytest.mark.parametrize("sdk", ["", "raise ImportError('half of it')"])
def test_the_sdk_is_tried(builder: EnvironmentBuilder, plugin: Path, index: Index, sdk: str) -> None:
    """An environment in which no endpoint could be imported is none."""
    index.add("duck-1.0-py3-none-any.whl", make_wheel("duck", "1.0", {"duck.py": ""}))
    (plugin / "requirements.txt").write_text("dify_plugin<9\n" if sdk else "duck\n")
    if sdk:
        index.add("dify_plugin-8.0-py3-none-any.whl", make_wheel("dify_plugin", "8.0", {"dify_plugin.py": sdk}))
    with pytest.raises(BuildError, match="half of it" if sdk else "does not name dify_plugin"):
        build(builder, plugin)


def test_a_plugin_without_files(builder: EnvironmentBuilder, plugin: Path) -> None:
    """There is nothing to build from."""
    (plugin / "requirements.txt").unlink()
    with pytest.raises(BuildError, match=r"neither pyproject\.toml nor requirements\.txt"):
        build(builder, plugin)


def test_limits_end_a_build(tmp_path: Path, plugin: Path, index: Index, host: HostIsolation) -> None:
    """The message names the limit."""
    index.add_sdist("slow", "import time; time.sleep(600)")
    (plugin / "requirements.txt").write_text("dify_plugin\nslow\n")
    settings = EnvironmentSettings(
        index_url=index.url, pythons=(Path(sys.executable),), limits=BuildLimits.model_validate({"silent_time": "3s"})
    )
    with (
        EnvironmentBuilder(tmp_path / "state", settings, host) as builder,
        pytest.raises(BuildError, match=r"said nothing for 3 s \(environments\.limits\.silent_time\)"),
    ):
        build(builder, plugin)


def test_a_build_can_be_cancelled(builder: EnvironmentBuilder, plugin: Path, index: Index) -> None:
    """By another thread, in the middle of it."""
    index.add_sdist("slow", "import time; time.sleep(600)")
    (plugin / "requirements.txt").write_text("dify_plugin\nslow\n")

    def cancel(line: str) -> None:
        if line.startswith("building slow"):
            builder.cancel()

    with pytest.raises(BuildError, match="cancelled"):
        builder.build(plugin, "", cancel)
    assert not list((builder.shelf.folder / "work").iterdir())


def test_offline_builds_use_what_was_fetched(
    tmp_path: Path, plugin: Path, host: HostIsolation, builder: EnvironmentBuilder
) -> None:
    """What is on this host needs no network; see `test_mirror` for what was fetched."""
    settings = builder.settings.model_copy(update={"offline": True})
    with EnvironmentBuilder(tmp_path / "another", settings, host) as offline:
        assert build(offline, plugin).python.exists()


def test_what_nobody_uses_is_removed(builder: EnvironmentBuilder, plugin: Path, host: HostIsolation) -> None:
    """Not what is in use, nor what was in use a moment ago."""
    environment = build(builder, plugin)
    with EnvironmentBuilder(builder.shelf.folder.parent, builder.settings, host) as other:
        assert other.collect(0.0) == ()
        builder.close()
        assert other.collect() == ()
        assert other.collect(0.0) == (environment.folder.parent,)
        assert not environment.folder.parent.exists()


def test_half_an_environment_is_none(builder: EnvironmentBuilder, plugin: Path) -> None:
    """Without its record it is built anew: it may be what was left when somebody pulled the plug."""
    environment = build(builder, plugin)
    (environment.folder.parent / "environment.json").unlink()
    environment.python.unlink()
    assert build(builder, plugin) == environment
    assert environment.python.exists()
    assert json.loads((environment.folder.parent / "environment.json").read_text())["digest"] == environment.digest

"""A plugin's folder, with settings from everywhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from executor.authoring.project import LOCAL_SETTINGS, MissingSettingsError, Options, Project, open_project
from executor.config.places import ConfigError
from tests.executor.catalog.plugins import GOOD, Edit, edited, write_plugin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plugin with one required setting, `token`, and `colour`, red or blue."""
    return write_plugin(tmp_path / "cat")


def opened(folder: Path, **options: Any) -> Project:
    """The plugin with these options."""
    return open_project(Options(folder=folder, **options))


def test_missing_settings_are_named(folder: Path) -> None:
    """Alone, so that they can be asked for; the answers are then as good as others."""
    with pytest.raises(MissingSettingsError) as caught:
        opened(folder)
    assert [setting.name for setting in caught.value.settings] == ["token"]
    assert str(caught.value) == (
        "setting token: expected a text, found nothing. "
        f"Give it with --set token=VALUE, or in {LOCAL_SETTINGS} as token: VALUE"
    )
    assert opened(folder, answers={"token": "t"}).hook.settings == {"token": "t", "colour": "red"}
    assert "secret answer" not in repr(Options(folder=folder, answers={"token": "secret answer"}))


def test_later_places_win(folder: Path, tmp_path: Path) -> None:
    """Configuration, local file, file, answers, command line."""
    config = tmp_path / "executor.yaml"
    config.write_text(
        "hooks:\n  other: {plugin: x, settings: {a: {from_env: NOT_SET}}}\n  cat: {settings: {token: a}}\n"
    )
    assert opened(folder, config_file=config).hook.settings["token"] == "a"
    (folder / LOCAL_SETTINGS).write_text("token: b\n")
    assert opened(folder, config_file=config).hook.settings["token"] == "b"
    file = tmp_path / "settings.yaml"
    file.write_text("token: c\n")
    assert opened(folder, settings_file=file).hook.settings["token"] == "c"
    assert opened(folder, settings_file=file, answers={"token": "d"}).hook.settings["token"] == "d"
    given = opened(folder, settings_file=file, settings=("token=e=f", "cat.colour=blue")).hook.settings
    assert given == {"token": "e=f", "colour": "blue"}


def test_the_hook_of_a_configuration(folder: Path, tmp_path: Path) -> None:
    """The first one of the plugin, or the one that is named; its limits hold."""
    config = tmp_path / "executor.yaml"
    config.write_text(
        "hooks:\n  one: {plugin: cat, settings: {token: a}, limits: {wall_time: 5s}}\n"
        "  two: {plugin: cat, settings: {token: b}}\n"
    )
    assert opened(folder, config_file=config).hook.limits.wall_time == 5
    assert opened(folder, config_file=config, hook_id="two").hook.settings["token"] == "b"
    assert opened(folder, config_file=config, limits=("wall_time=2m",)).hook.limits.wall_time == 120


def test_the_plugin_of_a_configuration(folder: Path, tmp_path: Path) -> None:
    """Its limits hold, and its environment is looked for; what is said of other plugins does not matter."""
    config = tmp_path / "executor.yaml"
    config.write_text("plugins:\n  - nowhere\n  - path: cat\n    limits: {wall_time: 7s}\n")
    assert opened(folder, config_file=config, settings=("token=a",)).hook.limits.wall_time == 7
    copy = write_plugin(tmp_path / "copy")
    options = Options(folder=folder, config_file=config, settings=("token=a",))
    assert open_project(options, files=copy).hook.limits.wall_time == 7
    config.write_text("plugins:\n  - path: cat\n    environment: env\n")
    with pytest.raises(ConfigError, match=r"^environment: .*/env is no virtual environment"):
        opened(folder, config_file=config, settings=("token=a",))
    with pytest.raises(ConfigError, match=r"^--environment: "):
        opened(folder, environment=tmp_path, settings=("token=a",))
    config.write_text("plugins:\n  - nowhere\n  - path: cat\n    limits: {wall_tme: 7s}\n")
    with pytest.raises(ConfigError, match=":4:"):
        opened(folder, config_file=config, settings=("token=a",))


def test_sources_for_another_python(folder: Path, tmp_path: Path) -> None:
    """What this Python does not understand is only doubtful where another one will run it."""
    source = folder / "endpoints" / "cat.py"
    source.write_text("class class_of_the_future\n" + source.read_text())
    with pytest.raises(ConfigError, match="expected valid Python"):
        opened(folder, settings=("token=a",))
    other = "3.14" if sys.version_info < (3, 14) else "3.13"
    environment = tmp_path / "environment"
    (environment / "lib" / f"python{other}" / "site-packages").mkdir(parents=True)
    (environment / "bin").mkdir()
    (environment / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    (environment / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).parent}\n")
    project = opened(folder, settings=("token=a",), environment=str(environment))
    assert project.hook.plugin.environment is not None
    assert any(f"the plugin is run with Python {other}" in warning for warning in project.warnings)


def test_limits(folder: Path) -> None:
    """As in a file, with their units; mistakes are told with what would have been right."""
    limits = opened(folder, settings=("token=a",), limits=("memory=64 MiB", "processes=8", "cpu_share=0.5")).hook.limits
    assert (limits.memory, limits.processes, limits.cpu_share) == (64 * 1024**2, 8, 0.5)
    for text, message in (
        ("memory", "--limit: expected NAME=VALUE, such as memory=64MiB, found memory"),
        ("memory=lots", "--limit memory: hooks.cat.limits.memory: "),
        ("memry=1", "--limit memry: hooks.cat.limits"),
    ):
        with pytest.raises(ConfigError) as caught:
            opened(folder, settings=("token=a",), limits=(text,))
        assert str(caught.value).startswith(message)


def test_mistakes_in_settings(folder: Path) -> None:
    """They say where they are; values are not shown."""
    (folder / LOCAL_SETTINGS).write_text("colour: green\ntoken:\n  - 1\n")
    with pytest.raises(ConfigError) as caught:
        opened(folder)
    place = str(folder / LOCAL_SETTINGS)
    text = str(caught.value)
    assert f"{place}:1:9: setting colour: expected one of red, blue, found" in text
    assert f"{place}:3:3: setting token: expected a text, found a list" in text
    (folder / LOCAL_SETTINGS).write_text("token: a\ntoken: b\n")
    with pytest.raises(ConfigError, match="2"):
        opened(folder)
    for setting, message in (("token", "expected NAME=VALUE"), ("token:=x", "not JSON")):
        with pytest.raises(ConfigError, match=message):
            opened(folder, settings=(setting,))


def test_slips_of_the_pen(folder: Path) -> None:
    """A name that nothing is declared for is worth a warning, or is among the reasons."""
    (warning,) = opened(folder, settings=("token=a", "color=blue")).warnings
    assert warning == "--set color: the plugin declares no setting color; did you mean colour?"
    with pytest.raises(ConfigError, match="did you mean token") as caught:
        opened(folder, settings=("tokn=a",))
    assert not isinstance(caught.value, MissingSettingsError)


def test_a_copy_is_named_by_the_folder(folder: Path, tmp_path: Path) -> None:
    """Messages lead to the file that its author edits."""
    copy = write_plugin(tmp_path / "copy", edited(Edit("endpoints/cat.yaml", "/cat", "cat")))
    with pytest.raises(ConfigError) as caught:
        open_project(Options(folder=folder), files=copy)
    assert str(caught.value).startswith(f"{folder}/endpoints/cat.yaml:1:7: expected a path") or str(
        caught.value
    ).startswith(f"{folder}/endpoints/cat.yaml:1:7: path: ")
    copy = write_plugin(tmp_path / "copy2", GOOD)
    assert open_project(Options(folder=folder, settings=("token=a",)), files=copy).plugin.root == copy

"""Hooks that are bound to plugins: what is told of their settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.config.load import load_config
from executor.config.overrides import Overrides
from executor.config.places import ConfigError
from executor.hooks import bind_hooks
from tests.executor.catalog.plugins import Edit, edited, write_plugin

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "rainbow_cat"


def refused(*settings: str, file: Path | None = None) -> list[str]:
    """What is wrong with the example when these settings are given."""
    with pytest.raises(ConfigError) as caught:
        bind_hooks(load_config(file, Overrides(plugins=(EXAMPLE,), settings=settings)))
    return [str(problem) for problem in caught.value.problems]


def test_a_missing_setting_is_not_looked_for_in_the_option_of_another_one() -> None:
    """It was not given anywhere, so no place is named."""
    name = "hooks.rainbow_cat.settings.webhook_secret: setting webhook_secret: expected a text, found nothing"
    (told,) = refused("rainbow_cat.colour=red")
    assert told.startswith(name)
    assert told.endswith("as hooks.rainbow_cat.settings.webhook_secret")


def test_a_missing_setting_is_missed_where_its_hook_is(tmp_path: Path) -> None:
    """In the file, that is: by line and column."""
    file = tmp_path / "executor.yaml"
    file.write_text("hooks:\n  rainbow_cat: {limits: {concurrency: 2}}\n")
    (told,) = refused(file=file)
    assert told.startswith(f"{file}:2:16: hooks.rainbow_cat.settings.webhook_secret: ")


def test_a_wrong_value_is_told_with_its_own_option() -> None:
    """And a hook that no plugin serves with the option that names it."""
    told = refused("rainbow_cat.webhook_secret:=5", "dog.name=Rex")
    assert any(one.startswith("--set rainbow_cat.webhook_secret: hooks.rainbow_cat.") for one in told)
    assert any(one.startswith("--set dog.name: hooks.dog.plugin: there is no plugin named 'dog'") for one in told)


def test_a_map_is_asked_for_as_the_command_line_takes_it(tmp_path: Path) -> None:
    """As JSON; a text would be refused once more."""
    plugin = write_plugin(
        tmp_path / "cat",
        edited(Edit("group/cat.yaml", "name: token\n    type: secret-input", "name: app\n    type: app-selector")),
    )
    with pytest.raises(
        ConfigError, match=r"expected a map with app_id, found nothing\. Give it with --set cat\.app:=JSON, or"
    ):
        bind_hooks(load_config(None, Overrides(plugins=(plugin,))))


def test_values_for_settings_that_are_not_declared_are_warned_of() -> None:
    """With the name that was perhaps meant."""
    settings = ("rainbow_cat.webhook_secret=x", "rainbow_cat.webhok_secret=y")
    (told,) = bind_hooks(load_config(None, Overrides(plugins=(EXAMPLE,), settings=settings))).warnings
    assert told == (
        "--set rainbow_cat.webhok_secret: the plugin declares no setting webhok_secret; did you mean webhook_secret?"
    )


def test_a_plugin_that_cannot_be_read_is_not_told_to_be_missing_as_well(tmp_path: Path) -> None:
    """For the hook that its settings are given for; other hooks without a plugin are told of."""
    (tmp_path / "cat").mkdir()
    with pytest.raises(ConfigError) as caught:
        bind_hooks(load_config(None, Overrides(plugins=(tmp_path / "cat",), settings=("cat.a=1", "dog.b=2"))))
    first, second = map(str, caught.value.problems)
    assert first.startswith(f"{tmp_path}/cat/manifest.yaml: expected the file")
    assert second.startswith("--set dog.b: hooks.dog.plugin: there is no plugin named 'dog'")


def test_hooks_of_a_plugin_share_what_they_have_in_common(tmp_path: Path) -> None:
    """What finds their endpoints, and their limits but where a hook has its own; other plugins have others."""
    file = tmp_path / "executor.yaml"
    file.write_text(
        "plugins: [{path: cat, limits: {wall_time: 30s}}, dog]\n"
        "hooks: {one: {plugin: cat}, two: {plugin: cat}, own: {plugin: cat, limits: {concurrency: 2}}, dog: {}}\n"
    )
    free = Edit("group/cat.yaml", "required: true", "required: false")
    write_plugin(tmp_path / "cat", edited(free))
    write_plugin(tmp_path / "dog", edited(free, Edit("manifest.yaml", "name: cat", "name: dog")))
    hooks = bind_hooks(load_config(file)).hooks
    one, two, own, dog = (hooks[hook_id] for hook_id in ("one", "two", "own", "dog"))
    assert one.router is two.router is own.router is not dog.router
    assert one.limits is two.limits
    assert (one.limits.wall_time, own.limits.wall_time, dog.limits.wall_time) == (30, 30, 600)
    assert (one.limits.concurrency, own.limits.concurrency) == (32, 2)

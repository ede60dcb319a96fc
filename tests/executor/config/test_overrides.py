"""The command line over the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.config.load import load_config
from executor.config.overrides import Overrides
from executor.config.places import ConfigError
from tests.executor.config.support import load, problems_of


def test_options_win_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And relative paths start where the command was started."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "etc"
    folder.mkdir()
    config = load(
        folder,
        "listen: {host: 10.0.0.1, port: 1}\nadmin: {port: 2}\nstate_dir: there\ndebug: false\nplugins: [./one]",
        Overrides(host="::1", port=0, admin_port=9, state_dir=Path("here"), debug=True, plugins=(Path("two"),)),
    )
    assert (config.listen.host, config.listen.port, config.admin_port) == ("::1", 0, 9)
    assert config.state_dir == tmp_path / "here"
    assert config.debug
    assert [plugin.path for plugin in config.plugins] == [folder / "one", tmp_path / "two"]
    assert str(config.source.locate(("listen", "port"))) == "--port"
    assert str(config.source.locate(("plugins", 1, "path"))) == "two"


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("cat.name=value", {"name": "value"}),
        ("cat.name=", {"name": ""}),
        ("cat.name=a=b:c.d", {"name": "a=b:c.d"}),
        ("cat.name=true", {"name": "true"}),
        ("cat.name=12", {"name": "12"}),
        ("cat.name={from_env: X}", {"name": "{from_env: X}"}),
        ("cat.a.b=1", {"a.b": "1"}),
        ("cat.name=two\nlines", {"name": "two\nlines"}),
        ("cat.name:=true", {"name": True}),
        ("cat.name:=12", {"name": 12}),
        ('cat.name:={"a": [1, null]}', {"name": {"a": [1, None]}}),
        ('cat.name:={"from_env": "OVERRIDE_TEST"}', {"name": "from the environment"}),
    ],
)
def test_settings_are_texts_unless_json(monkeypatch: pytest.MonkeyPatch, option: str, values: object) -> None:
    """After `=` everything is taken as it stands; after `:=` it is JSON."""
    monkeypatch.setenv("OVERRIDE_TEST", "from the environment")
    assert load_config(None, Overrides(settings=(option,))).hooks["cat"].values == values


def test_a_setting_replaces_that_of_the_file_only(tmp_path: Path) -> None:
    """The other settings of the hook stay."""
    config = load(
        tmp_path,
        "hooks: {cat: {plugin: tom, settings: {a: 1, b: {c: 2}}}}",
        Overrides(settings=("cat.b=x", "cat.b=y", "dog.a=z")),
    )
    assert config.hooks["cat"].plugin == "tom"
    assert config.hooks["cat"].values == {"a": 1, "b": "y"}
    assert config.hooks["dog"].values == {"a": "z"}
    assert str(config.source.locate(("hooks", "cat", "settings", "b"))) == "--set cat.b"
    assert config.source.locate(("hooks", "cat", "settings", "a")).line == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("nonsense", "HOOK.NAME=VALUE"),
        ("nonsense=secret", "HOOK.NAME=VALUE"),
        (".name=secret", "HOOK.NAME=VALUE"),
        ("cat.=secret", "HOOK.NAME=VALUE"),
        ("cat.name", "HOOK.NAME=VALUE"),
        ("cat.name:=secret", "not JSON"),
        ("cat.name:=[1e999999, secret", "not JSON"),
        ("a b.name=secret", "1 to 128 of the characters"),
    ],
)
def test_wrong_options_are_told_without_their_value(option: str, message: str) -> None:
    """It may be a secret."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, Overrides(settings=(option,)))
    (problem,) = caught.value.problems
    assert message in problem.message
    assert str(problem.place).startswith("--set ")
    assert "secret" not in repr(problem)


def test_wrong_options_are_told_together_with_the_problems_of_the_file(tmp_path: Path) -> None:
    """Each with its own place."""
    problems = problems_of(tmp_path, "debug: 7", Overrides(port=70_000, host="", settings=("x",)))
    assert sorted(str(problem.place).rpartition("/")[2] for problem in problems) == [
        "--host", "--port", "--set x", "executor.yaml:1:8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["hooks: 3", "hooks: {cat: 3}", "hooks: {cat: {settings: 3}}", "listen: x", "plugins: x"]
)
def test_a_file_with_something_else_in_that_place_is_refused(tmp_path: Path, text: str) -> None:
    """The option does not hide the mistake."""
    overrides = Overrides(port=1, plugins=(Path("x"),), settings=("cat.name=1",))
    assert [problem.place.line for problem in problems_of(tmp_path, text, overrides)] == [1]


@pytest.mark.parametrize("text", ["hooks:", "hooks: {cat: }", "hooks: {cat: {settings: }}", "listen:", "plugins:"])
def test_an_empty_section_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    """A key whose lines have all been commented out."""
    overrides = Overrides(port=1, plugins=(Path("x"),), settings=("cat.name=1",))
    config = load(tmp_path, text, overrides)
    assert config.listen.port == 1
    assert config.hooks["cat"].values == {"name": "1"}
    load(tmp_path, text)

"""All commands together: each is found when it is used, and told of as it tells of itself."""

from __future__ import annotations

import pkgutil
import re

import pytest
from typer.testing import CliRunner

import executor.cli
from executor.cli.commands import ABOUT, load_command
from executor.cli.main import create_app

RUNNER = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"})


@pytest.mark.parametrize("name", ABOUT)
def test_help_tells_of_a_command_what_it_tells_of_itself(name: str) -> None:
    """In the table of all commands, and at its own top, below the same usage."""
    listed = RUNNER.invoke(create_app(), ["--help"]).stdout
    assert re.search(rf"^\W*{name} +{re.escape(ABOUT[name])}", listed, re.MULTILINE)
    own = RUNNER.invoke(create_app(), [name, "--help"])
    assert own.exit_code == 0
    assert ABOUT[name] in own.stdout
    assert re.search(rf"Usage: \S+ {name} ", own.stdout)


def test_every_module_with_a_command_is_listed() -> None:
    """One that is not would not be found."""
    found = {one.name for one in pkgutil.iter_modules(executor.cli.__path__)}
    with_command = {name for name in found if hasattr(load(name), "register")}
    assert with_command == set(ABOUT)
    assert {load_command(name).name for name in ABOUT} == set(ABOUT)


def load(name: str) -> object:
    """A module of the package."""
    return __import__(f"executor.cli.{name}", fromlist=["register"])


def test_a_command_that_is_none_is_told() -> None:
    """With one that may have been meant; and so are wrong options of a real one, below its usage."""
    unknown = RUNNER.invoke(create_app(), ["sevre"])
    assert unknown.exit_code == 2
    assert "No such command 'sevre'. Did you mean 'serve'" in unknown.stderr
    wrong = RUNNER.invoke(create_app(), ["hook", "list", "--nope"])
    assert wrong.exit_code == 2
    assert "hook list [OPTIONS]" in wrong.stderr


@pytest.mark.parametrize(("words", "expected"), [("executor p", ["ps", "plugin"]), ("executor store b", ["backup"])])
def test_shells_complete_commands(words: str, expected: list[str]) -> None:
    """At the top and below."""
    environment = {
        "_EXECUTOR_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = RUNNER.invoke(create_app(), [], prog_name="executor", env=environment)
    assert done.stdout.split() == expected


def all_commands() -> list[list[str]]:
    """The words of every command, the top and groups included."""
    below = [[name, one] for name in ABOUT for one in getattr(load_command(name), "commands", {})]
    return [[], *([name] for name in ABOUT), *below]


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_help_is_for_people(words: list[str]) -> None:
    """No option that takes no value looks as if it did, no type of Python is named, no line is too long."""
    shown = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(create_app(), [*words, "--help"]).stdout
    assert "Show this message and exit." in shown
    assert not re.findall(r"<(?:bool|str|int|list\[\w+\])>", shown)
    assert max(map(len, shown.splitlines())) <= 80
    commands = re.findall(r"^ +(?:executor|\||--).*$", shown.partition("Examples:")[2], re.MULTILINE)
    assert not [line for line in commands if line.count("'") % 2], "no line ends within quotes"

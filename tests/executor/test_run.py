"""What is told when the service is ready; tests/e2e has the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.config.load import load_config
from executor.config.model import Config
from executor.hooks import Bound, bind_hooks
from executor.run import endpoint_table, list_commands
from executor.service import Addresses
from tests.executor.catalog.plugins import Edit, edited, write_plugin

ADDRESSES = Addresses("http://127.0.0.1:1", "http://127.0.0.1:2")


def test_where_nothing_is_served_it_is_told_how_to_add_something() -> None:
    """With the options that commands need to find the same store."""
    lines = endpoint_table(ADDRESSES, Bound(), " --state-dir '/a {b}'").splitlines()
    assert lines[0] == "Serving:"
    assert lines[1].startswith("  nothing yet; ")
    assert lines[2:4] == [
        "    executor plugin install PACKAGE --state-dir '/a {b}'",
        "    executor hook create NAME --state-dir '/a {b}'",
    ]
    assert lines[4].endswith("http://127.0.0.1:2")


def test_hooks_that_cannot_be_served_are_not_nothing() -> None:
    """Another hook would not mend them."""
    table = endpoint_table(ADDRESSES, Bound(failed={"cat": "its files are gone"}))
    assert "nothing, for no hook can be served; the log says why" in table
    assert "executor hook create" not in table


def bind_many(folder: Path, number: int) -> tuple[Config, Bound]:
    """So many hooks of a plugin with one endpoint, as a configuration file has them."""
    write_plugin(folder / "cat", edited(Edit("group/cat.yaml", "required: true", "required: false")))
    hooks = "".join(f"  hook-{index}: {{plugin: cat}}\n" for index in range(number))
    (folder / "executor.yaml").write_text(f"plugins: [cat]\nhooks:\n{hooks}")
    config = load_config(folder / "executor.yaml")
    return config, bind_hooks(config)


@pytest.mark.parametrize(("hooks", "listed"), [(20, 20), (21, 20), (1234, 20)])
def test_so_many_addresses_are_listed(tmp_path: Path, hooks: int, listed: int) -> None:
    """Of the rest it is told how many there are, and what lists them."""
    _, bound = bind_many(tmp_path, hooks)
    lines = endpoint_table(ADDRESSES, bound, more=["executor hook list"]).splitlines()
    assert [line.split()[1] for line in lines[1 : listed + 1]] == [
        f"http://127.0.0.1:1/e/hook-{index}/cat/<name>" for index in range(listed)
    ]
    rest = hooks - listed
    told = [f"  and {rest:,} more of {hooks:,}; to list all of them:", "    executor hook list"] if rest else []
    assert lines[listed + 1 : -1] == told


def test_what_is_served_is_listed_where_it_comes_from(tmp_path: Path) -> None:
    """By the file, by the folders of the command line, or by the store with the options that find it."""
    config, bound = bind_many(tmp_path, 2)
    file = tmp_path / "executor.yaml"
    assert list_commands(bound, config, file, f" --config {file}") == [f"executor config show --config {file}"]
    assert list_commands(bound, config, None, "") == ["executor check PLUGIN... --format json"]
    assert list_commands(bound, Config(), None, " --state-dir /a") == ["executor hook list --state-dir /a"]

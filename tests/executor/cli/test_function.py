"""`executor function`: list and remove, without a service; tests/e2e has one that runs."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from executor.serverless.functions import Function, FunctionShelf
from tests.executor.installed.support import Lab
from tests.executor.serverless import test_functions

CAT: Final = replace(test_functions.CAT, launched_at=1_700_000_000.0)
NEXT: Final = replace(CAT, version="0.0.2", checksum="beef" * 16, token="b" * 32)
DOG: Final = replace(CAT, author="other", plugin="dog", checksum="d09" * 21 + "0", token="c" * 32, environment="")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Three functions, with files."""
    lab = Lab(tmp_path)
    shelf = FunctionShelf(lab.state_dir / "serverless" / "functions")
    for one in (CAT, NEXT, DOG):
        shelf.put(one)
        os.utime(shelf.folder / f"{one.name}.json", (1_800_000_000, 1_800_000_000))
        folder(lab, one).mkdir(parents=True)
        (folder(lab, one) / "manifest.yaml").write_text("name: cat")
    return lab


def folder(lab: Lab, function: Function) -> Path:
    """Where the files of a function are."""
    version = f"{function.version}@{function.checksum}"
    return lab.state_dir / "serverless" / "plugins" / function.author / function.plugin / version


def listed(lab: Lab) -> list[dict[str, Any]]:
    """The functions, as programs are told."""
    functions: list[dict[str, Any]] = json.loads(lab("function", "list", "--format", "json"))["functions"]
    return functions


def test_functions_are_listed(lab: Lab) -> None:
    """For people and for programs; never with the secret part of their URL."""
    assert [one["identifier"] for one in listed(lab)] == [NEXT.identifier, CAT.identifier, DOG.identifier]
    assert listed(lab)[1] == {
        "name": CAT.name,
        "identifier": CAT.identifier,
        "author": "tester",
        "plugin": "cat",
        "version": "0.0.1",
        "checksum": CAT.checksum,
        "environment": CAT.environment,
        "launched_at": CAT.launched_at,
        "used_at": 1_800_000_000,
    }
    assert listed(lab)[2]["environment"] is None
    table = lab("function", "list")
    for part in ("tester/cat", "0.0.2", CAT.checksum[:12], DOG.name, "2023-11-1", "2027-01-1"):
        assert part in table
    assert CAT.token not in table + json.dumps(listed(lab))


def test_there_may_be_none(tmp_path: Path) -> None:
    """And then nothing is made, but said."""
    lab = Lab(tmp_path)
    assert listed(lab) == []
    assert "there is no function" in lab("function", "list")
    assert "there is none; a Dify daemon launches them" in lab.refuse("function", "remove", "cat")
    assert not lab.state_dir.exists()


@pytest.mark.parametrize("name", [CAT.name, CAT.identifier, "cat:0.0.1", "tester/cat@c0ffee"])
def test_a_version_is_removed(lab: Lab, name: str) -> None:
    """By any of its names, with its files; the others stay."""
    done = lab.run("function", "remove", name)
    assert done.stdout == f"removed {CAT.identifier}\n"
    assert "until the plugin is installed again" in done.stderr
    assert [one["identifier"] for one in listed(lab)] == [NEXT.identifier, DOG.identifier]
    assert [folder(lab, one).exists() for one in (CAT, NEXT, DOG)] == [False, True, True]


def test_what_is_not_clear_is_refused(lab: Lab) -> None:
    """And nothing is removed, not even of what is clear."""
    refused = lab.refuse("function", "remove", "dog", "cat")
    assert f"cat may be {NEXT.identifier} or {CAT.identifier}; name one of them, or give --all" in refused
    FunctionShelf(lab.state_dir / "serverless" / "functions").put(replace(CAT, author="else", checksum="e" * 64))
    assert "cat may be else/cat or tester/cat" in lab.refuse("function", "remove", "cat", "--all")
    unknown = lab.refuse("function", "remove", "cow")
    assert "no function is called cow; there are: " in unknown
    assert DOG.identifier in unknown
    assert "expected a plugin such as cat" in lab.refuse("function", "remove", "../cat")
    assert len(listed(lab)) == 4


def test_all_versions_are_removed(lab: Lab) -> None:
    """Each once, however often it is named."""
    done = lab("function", "remove", "--all", "cat", "cat:0.0.1", "dog")
    assert done.splitlines() == [f"removed {one.identifier}" for one in (NEXT, CAT, DOG)]
    assert listed(lab) == []
    assert [path.name for path in (lab.state_dir / "serverless" / "plugins").iterdir()] == [".lock"]

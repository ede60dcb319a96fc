"""The files of functions."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from executor.serverless.errors import LaunchError
from executor.serverless.functions import Function, FunctionShelf, new_token

CAT: Final = Function(
    token="a" * 32,
    author="tester",
    plugin="cat",
    version="0.0.1",
    checksum="c0ffee" * 10 + "beef",
    launched_at=1.5,
    environment="e" * 64,
)


def test_what_is_put_is_read(tmp_path: Path) -> None:
    """By the next service, with the same secret."""
    shelf = FunctionShelf(tmp_path / "functions")
    assert shelf.read() == ()
    shelf.put(CAT)
    other = replace(CAT, plugin="dog", token=new_token())
    shelf.put(other)
    assert FunctionShelf(tmp_path / "functions").read() == (CAT, other)
    shelf.remove(CAT)
    shelf.remove(CAT)
    assert shelf.read() == (other,)
    assert {path.stat().st_mode & 0o777 for path in shelf.folder.iterdir()} == {0o600}


def test_names_are_what_the_daemon_can_keep() -> None:
    """At most 127 characters, and none that it would split a list at."""
    assert CAT.filename == f"tester@cat@0.0.1@{CAT.checksum}.difypkg"
    long = replace(CAT, plugin="n" * 128)
    assert len(long.name) <= 127
    assert not {",", "="} & set(long.name)
    assert CAT.token not in repr(CAT)
    assert len({new_token() for _ in range(100)}) == 100


@pytest.mark.parametrize("plugin", ["../cat", "a/b", "", "Cat", "cat\n"])
def test_odd_names_have_no_file(tmp_path: Path, plugin: str) -> None:
    """So nothing is written anywhere else."""
    with pytest.raises(LaunchError, match="cannot be the name"):
        FunctionShelf(tmp_path / "functions").put(replace(CAT, plugin=plugin))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"\xff", b'{"token": "short"}'],
)
def test_files_that_are_none_are_left_out(tmp_path: Path, content: bytes) -> None:
    """Such as those of another version of the program."""
    shelf = FunctionShelf(tmp_path)
    (tmp_path / f"{CAT.name}.json").write_bytes(content)
    assert shelf.read() == ()


@pytest.mark.parametrize("change", [{"token": "a"}, {"token": "A" * 32}, {"plugin": "dog"}, {"more": 1}])
def test_files_that_were_changed_are_left_out(tmp_path: Path, change: dict[str, Any]) -> None:
    """A function is what its file is called."""
    shelf = FunctionShelf(tmp_path)
    shelf.put(CAT)
    path = tmp_path / f"{CAT.name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert shelf.read() == ()


def test_the_last_use_is_remembered(tmp_path: Path) -> None:
    """And written down once a minute at most."""
    shelf = FunctionShelf(tmp_path)
    assert shelf.last_use(CAT) == CAT.launched_at
    shelf.put(CAT)
    path = tmp_path / f"{CAT.name}.json"
    os.utime(path, (100, 100))
    assert shelf.last_use(CAT) == 100
    shelf.touch(CAT)
    assert shelf.last_use(CAT) > 100
    os.utime(path, (100, 100))
    shelf.touch(CAT)
    assert shelf.last_use(CAT) == 100
    assert FunctionShelf(tmp_path).last_use(CAT) == 100

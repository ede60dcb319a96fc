"""Which Python a plugin gets: the one that it asks for, or a message that says what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from executor.environments.errors import BuildError
from executor.environments.interpreters import PythonWish, choose_interpreter, find_interpreters, read_wish

OURS = f"3.{sys.version_info.minor}"


def test_the_interpreters_of_this_host() -> None:
    """Outside of virtual environments, each once, with the folders that they import from."""
    found = find_interpreters((Path(sys.executable),))
    assert found[0].minor == OURS
    assert found[0].program == Path(sys._base_executable).resolve()  # type: ignore[attr-defined]  # of CPython
    others = [interpreter.program for interpreter in found[1:]]
    assert len(set(others)) == len(others)
    assert all(interpreter.program.is_file() and Path("/usr") not in interpreter.trees for interpreter in found)


@pytest.mark.parametrize(
    ("manifest", "minor"),
    [
        ("meta: {runner: {version: '3.12'}}", "3.12"),
        ("meta: {runner: {version: 3.12}}", "3.12"),
        ("meta: {runner: {version: '3.12.7'}}", "3.12"),
        ("meta: {runner: {version: '3'}}", ""),
        ("meta: {runner: {version: [3, 12]}}", ""),
        ("meta: {runner: 5}", ""),
        ("[", ""),
        ("", ""),
    ],
)
def test_what_a_manifest_asks_for(tmp_path: Path, manifest: str, minor: str) -> None:
    """What is wrong with a manifest is told by those who check it."""
    (tmp_path / "manifest.yaml").write_text(manifest)
    assert read_wish(tmp_path, " >=3.11 ") == PythonWish(minor, ">=3.11")


def test_it_is_honoured() -> None:
    """Both the version of the manifest and the specifier count; without either any will do."""
    ours = (Path(sys.executable),)
    assert choose_interpreter(PythonWish(OURS, f"=={OURS}.*"), ours, download=False).minor == OURS
    assert choose_interpreter(PythonWish(), ours, download=False).minor == OURS
    with pytest.raises(BuildError, match="requires-python"):
        choose_interpreter(PythonWish("", "nonsense"), ours, download=False)


def test_what_is_missing_is_told() -> None:
    """What is asked for, where that is said, what there is, and what to do."""
    with pytest.raises(BuildError) as caught:
        choose_interpreter(PythonWish("3.99", ">=3.12"), (Path(sys.executable),), download=False)
    text = str(caught.value)
    assert "Python 3.99 (meta.runner.version in manifest.yaml) and Python >=3.12 (requires-python" in text
    assert f"it has {find_interpreters((Path(sys.executable),))[0].version} (" in text
    assert "workers run with Python 3.11 to 3.14" in caught.value.advice
    with pytest.raises(BuildError, match=r"install Python 3\.14, or name its program in environments\.pythons"):
        choose_interpreter(PythonWish("3.14", "<3.14"), (Path(sys.executable),), download=False)


def test_a_program_that_is_no_python() -> None:
    """The message names it, and the setting."""
    with pytest.raises(BuildError, match=r"/bin/sh, named in environments\.pythons, is no Python"):
        find_interpreters((Path("/bin/sh"),))


@pytest.mark.parametrize("requires", ["--mirror=http://127.0.0.1:1/", "--install-dir /x", "file:///x"])
def test_what_a_plugin_asks_for_is_no_option_of_uv(requires: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a host without any interpreter that could be asked whether it fits."""
    monkeypatch.setattr("executor.environments.interpreters.find_interpreters", lambda _pythons: ())
    with pytest.raises(BuildError, match=r"requires-python in pyproject\.toml"):
        choose_interpreter(PythonWish(requires=requires), (), download=True)

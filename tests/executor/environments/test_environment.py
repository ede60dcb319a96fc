"""Environments of plugins: which folders are one, and which interpreter is run for them."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from executor.environments.environment import Environment, EnvironmentUnfitError, find_environment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A virtual environment without anything in it, its interpreter a link to ours."""
    made = tmp_path / "env"
    venv.create(made, symlinks=True)
    return made


def test_an_environment_is_recognised(folder: Path) -> None:
    """Its interpreter is that of the installation below, not a link."""
    environment = find_environment(folder)

    assert environment.python == folder / "bin/python"
    assert environment.folder == folder
    assert environment.trees == (folder,)
    assert environment.interpreter == Path(sys.executable).resolve()


def test_the_digest_is_that_of_what_is_installed(folder: Path) -> None:
    """It stays as long as nothing is installed or removed."""
    before = find_environment(folder).digest
    assert find_environment(folder).digest == before

    next(folder.glob("lib/*/site-packages")).joinpath("some-1.0.dist-info").mkdir()
    assert find_environment(folder).digest != before


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    """With the name of the folder and what to do."""
    with pytest.raises(EnvironmentUnfitError, match=r"no virtual environment.*No such file.*uv venv"):
        find_environment(tmp_path)
    (tmp_path / "pyvenv.cfg").write_text("version = 3.12\n")
    with pytest.raises(EnvironmentUnfitError, match=r"pyvenv.cfg has no `home`"):
        find_environment(tmp_path)


def test_another_version_of_python_is_refused(tmp_path: Path) -> None:
    """Workers run with 3.11 to 3.14 only."""
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (tmp_path / "lib/python3.9/site-packages").mkdir(parents=True)
    with pytest.raises(EnvironmentUnfitError, match=r"is for Python 3\.9; expected one of 3\.11 to 3\.14"):
        find_environment(tmp_path)


def test_an_interpreter_in_the_environment_is_never_run(folder: Path) -> None:
    """Neither as a file nor by a chain of links that leads back: a build could have put anything there."""
    python = folder / "bin/python"
    mark = folder / "was run"
    for other in folder.glob("bin/python*"):
        other.unlink()
    python.write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    python.chmod(0o755)
    with pytest.raises(EnvironmentUnfitError, match=r"is a file in it, .*/bin/python, which is not run"):
        find_environment(folder)

    python.rename(folder / "evil")
    python.symlink_to(folder.parent / "outside")
    (folder.parent / "outside").symlink_to(folder / "evil")
    with pytest.raises(EnvironmentUnfitError, match=r"is a file in it, .*/evil"):
        find_environment(folder)
    assert not mark.exists()


def test_an_interpreter_that_is_gone_is_told(folder: Path) -> None:
    """A link that leads nowhere, or round in circles, or to what is no program."""
    environment = Environment(folder / "bin/python", (folder,), "")
    for other in folder.glob("bin/python*"):
        other.unlink()
    with pytest.raises(EnvironmentUnfitError, match=r"has no interpreter.*make it anew"):
        environment.interpreter  # noqa: B018 - it raises
    environment.python.symlink_to("python")
    with pytest.raises(EnvironmentUnfitError, match=r"has no interpreter"):
        environment.interpreter  # noqa: B018 - it raises
    environment.python.unlink()
    environment.python.symlink_to("/bin/sh")
    with pytest.raises(EnvironmentUnfitError, match=r"is /.*sh; expected a link to a `python3`"):
        environment.interpreter  # noqa: B018 - it raises
    environment.python.unlink()
    (folder.parent / "python3").mkdir()
    environment.python.symlink_to(folder.parent / "python3")
    with pytest.raises(EnvironmentUnfitError, match=r"cannot be executed"):
        environment.interpreter  # noqa: B018 - it raises


def test_made_by_uv(tmp_path: Path) -> None:
    """What `uv venv` makes is one."""
    subprocess.run([sys.executable, "-m", "uv", "-q", "venv", "-p", sys.executable, tmp_path / "env"], check=True)

    assert find_environment(tmp_path / "env").interpreter == Path(sys.executable).resolve()

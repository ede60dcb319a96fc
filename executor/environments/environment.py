"""An environment that a plugin's workers run in: the virtual environment with its SDK and its own packages.

What is in an environment was chosen by its plugin, so nothing of it is run with the rights of the executor. The one
program of it that is executed, its interpreter, must be a link to one that is installed outside of it.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Environment", "EnvironmentUnfitError", "find_environment"]

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
"""Versions of Python that workers run with, oldest first."""

_RANGE: Final = f"{PYTHONS[0]} to {PYTHONS[-1]}"
_MAX_CONFIG: Final = 64 * 1024
_NAME: Final = re.compile(r"python3?(\.[0-9]+)?t?")
_HOME: Final = re.compile(r"^home\s*=", re.MULTILINE)


class EnvironmentUnfitError(Exception):
    """No worker can be run in an environment; the text names it, what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment.

    Attributes:
        python: Its interpreter, `bin/python` in its folder.
        trees: What workers must be able to read: its folder, and what its interpreter is installed in where the
            interpreter itself does not tell.
        digest: Another one when its content is another.
    """

    python: Path
    trees: tuple[Path, ...]
    digest: str

    @property
    def folder(self) -> Path:
        """The folder of the environment."""
        return self.python.parent.parent

    @property
    def version(self) -> str:
        """The version of Python that it is for, such as `3.12`.

        Raises:
            EnvironmentUnfitError: None that workers run with.
        """
        folders = sorted(self.folder.glob("lib/python3.*/site-packages"))
        found = [folder.parent.name.removeprefix("python") for folder in folders]
        for version in found:
            if version in PYTHONS:
                return version
        versions = ", ".join(found) or "none that is known"
        raise EnvironmentUnfitError(f"the environment {self.folder} is for Python {versions}; expected one of {_RANGE}")

    @property
    def interpreter(self) -> Path:
        """The program that its interpreter is a link to.

        Raises:
            EnvironmentUnfitError: There is none, or it is in the environment itself.
        """
        try:
            program = self.python.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise EnvironmentUnfitError(
                f"the environment {self.folder} has no interpreter: {self.python}: {error}; make it anew"
            ) from error
        if program.is_relative_to(self.folder.resolve()):
            raise EnvironmentUnfitError(
                f"the interpreter of the environment {self.folder} is a file in it, {program}, which is not run; "
                "expected a link to an interpreter that is installed, as `uv venv` and `python -m venv` make it"
            )
        if not _NAME.fullmatch(program.name):  # a build could link to any other program of the host
            raise EnvironmentUnfitError(
                f"the interpreter of the environment {self.folder} is {program}; expected a link to a `python3`"
            )
        if not program.is_file() or not os.access(program, os.X_OK):
            raise EnvironmentUnfitError(f"{program}, the interpreter of {self.folder}, cannot be executed")
        return program


def find_environment(folder: Path) -> Environment:
    """Look at a virtual environment that somebody has made.

    Args:
        folder: The one with `pyvenv.cfg` in it.

    Raises:
        EnvironmentUnfitError: It is none, or workers cannot be run in it.
    """
    folder = folder.absolute()
    config = _read_config(folder)
    environment = Environment(folder / "bin" / "python", (folder,), _digest(folder, config))
    environment.version, environment.interpreter  # noqa: B018 - they raise if there is none
    return environment


def _read_config(folder: Path) -> str:
    path = folder / "pyvenv.cfg"
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_MAX_CONFIG)
    except OSError as error:
        raise EnvironmentUnfitError(
            f"{folder} is no virtual environment: {path}: {error.strerror}; make one with "
            f"`uv venv {folder}`, and install the plugin's requirements into it"
        ) from error
    if not _HOME.search(text):
        raise EnvironmentUnfitError(f"{folder} is no virtual environment: {path} has no `home`; make it anew")
    return text


def _digest(folder: Path, config: str) -> str:
    """Tell states of an environment apart by what is installed in it: installers write these folders anew."""
    digest = hashlib.sha256(config.encode())
    for packages in sorted(folder.glob("lib/python3.*/site-packages")):
        with os.scandir(packages) as entries:
            for name, changed in sorted(
                (entry.name, entry.stat(follow_symlinks=False).st_mtime_ns) for entry in entries
            ):
                digest.update(f"{name}\0{changed}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()

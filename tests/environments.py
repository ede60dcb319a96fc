"""Virtual environments for tests, with real packages: built once, and kept in the user's cache for later runs.

Everything comes from the package index that uv and pip are set up for. A folder is named after what is in it, so tests
that run side by side share it, and a list that was changed gets another one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

__all__ = [
    "NOBODY",
    "build_environment",
    "environment_for_anybody",
    "find_pythons",
    "ordinary_user",
    "plant",
    "python_for",
    "python_for_anybody",
    "reachable",
]

NOBODY: Final = 65534
"""The user without rights."""

_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "endpoint-executor-tests"
_OPEN_CACHE: Final = Path(tempfile.gettempdir()) / f"endpoint-executor-tests-{os.getuid()}"
"""For what other users must be able to read as well."""

_PROJECT: Final = Path(__file__).parent.parent
_SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/opt/bin"
_MINORS: Final = (sys.version_info.minor, 13, 12, 11, 14)
_BUILD_TIME_S: Final = 280
_UV: Final = [sys.executable, "-m", "uv", "--quiet", "--no-config"]


def build_environment(*requirements: str, python: str = sys.executable, cache: Path = _CACHE) -> Path:
    """The folder of an environment with these requirements, built unless it is there.

    Args:
        requirements: As pip takes them.
        python: Interpreter to make it with.
        cache: Where environments are kept.
    """
    program = Path(python).resolve()
    name = hashlib.sha256("\n".join(["compiled", str(program), *requirements]).encode()).hexdigest()[:16]
    folder = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run("venv", "--python", str(program), str(folder))
            if requirements:
                _run("pip", "install", "--compile-bytecode", "--python", f"{folder}/bin/python", *requirements)
            (folder / "complete").write_text("\n".join(requirements))
    return folder


def python_for_anybody(folder: Path) -> str | None:
    """An interpreter that every user may run, and that can run the executor; `None` where this machine has none.

    It is the system's, of this version if there is such a one, so that it can import our packages. One of another
    version gets the packages that the executor needs from the index.

    Args:
        folder: Where everybody may read; the environment is put there.
    """
    system = _system_python()
    if system is None:
        return None
    packages = sysconfig.get_path("purelib")
    if system.rpartition(".")[2] != str(sys.version_info.minor):
        lock = (_PROJECT / "requirements" / "run.lock").read_text()
        pins = [line.rstrip(" \\") for line in lock.splitlines() if not line.startswith(" ")]
        built = build_environment(*pins, python=system, cache=_OPEN_CACHE)
        packages = str(next((built / "lib").glob("python3.*/site-packages")))
    venv = folder / "venv"
    if not venv.exists():
        subprocess.run([system, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = (venv / "lib").glob("python3.*/site-packages")
    (site / "ours.pth").write_text(f"{_PROJECT}\n{packages}\n")
    return str(venv / "bin" / "python")


def python_for(folder: Path) -> str:
    """An interpreter that ordinary users may run, with the packages of this one.

    It is this one where they can reach it, otherwise one of the system's.

    Args:
        folder: Where everybody may read.

    Raises:
        AssertionError: This machine has none.
    """
    if os.geteuid() != 0 or reachable(Path(sys.executable)):
        return sys.executable
    python = python_for_anybody(folder)
    assert python is not None, f"{sys.executable} is root's own, and this system has no other Python that would do"
    return python


def reachable(path: Path) -> bool:
    """Whether users without rights may use a file: every folder on the way to it lets them pass."""
    return all(folder.stat().st_mode & 0o1 for folder in path.resolve().parents)


def ordinary_user() -> int | None:
    """A user without rights to run something as; None where the tests have none either."""
    return NOBODY if os.geteuid() == 0 else None


def environment_for_anybody(*requirements: str) -> Path | None:
    """The folder of an environment that every user may read; `None` where this machine has no Python for it."""
    system = _system_python()
    return build_environment(*requirements, python=system, cache=_OPEN_CACHE) if system is not None else None


def _system_python() -> str | None:
    """An interpreter of this machine that every user may run, of our version if there is such a one."""
    found = (shutil.which(f"python3.{minor}", path=_SYSTEM_PATH) for minor in _MINORS)
    return next(filter(None, found), None)


def plant(environment: Path, folder: Path, code: str) -> Path:
    """A copy of an environment, at a folder that is not there yet, that runs code as soon as Python starts in it."""
    shutil.copytree(environment, folder, symlinks=True)
    packages = next((folder / "lib").glob("python3.*")) / "site-packages"
    (packages / "planted.py").write_text(code)
    (packages / "planted.pth").write_text("import planted\n")
    return folder


def _run(*arguments: str) -> None:
    done = subprocess.run(
        [*_UV, *arguments], capture_output=True, text=True, timeout=_BUILD_TIME_S, check=False, umask=0o022
    )
    assert done.returncode == 0, f"uv {' '.join(arguments)}:\n{done.stderr}"


@cache
def find_pythons() -> dict[str, str]:
    """Interpreters of this machine that workers run with, by version such as 3.12; ours is always among them."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = {ours: sys.executable}
    for version in ("3.11", "3.12", "3.13", "3.14"):
        places = [shutil.which(f"python{version}"), *map(str, _pyenv(version))]
        for place in filter(None, places):
            if version not in found and _asks_version(place) == version:
                found[version] = place
    return found


def _pyenv(version: str) -> list[Path]:
    """Interpreters that pyenv has, which are run by their paths only."""
    root = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    return sorted(root.glob(f"versions/{version}.*/bin/python{version}"))


def _asks_version(program: str) -> str:
    code = "import sys; print(*sys.version_info[:2], sep='.')"
    done = subprocess.run([program, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip()

"""Interpreters of this host, and the one that a plugin asks for.

A plugin asks for a version in `meta.runner.version` of its manifest, and in `requires-python` of its
`pyproject.toml`. An interpreter that is good has both; the newest release of it is taken. Where none is good, the
message says which there are and what to do.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uv
import yaml

from executor.catalog.files import FileError, PluginFiles
from executor.environments.errors import BuildError
from executor.environments.specifiers import SpecifierError, allows

__all__ = ["Interpreter", "PythonWish", "choose_interpreter", "find_interpreters", "read_wish"]

SUPPORTED: Final = ("3.11", "3.12", "3.13", "3.14")
"""Versions of Python that workers run with."""

ASK_TIME_S: Final = 20.0
DOWNLOAD_TIME_S: Final = 600.0
_ASK: Final = (
    "import json, platform, sys; print(json.dumps({'version': platform.python_version(), 'base': sys.base_prefix, "
    "'exec': sys.base_exec_prefix, 'program': sys._base_executable, 'name': sys.implementation.name, "
    "'machine': platform.machine(), 'free': getattr(sys, 'abiflags', '')}))"
)
_SYSTEM: Final = frozenset({Path("/"), Path("/usr")})
"""What every view has the needed parts of."""

_VERSION: Final = re.compile(r"3(?:\.(\d{1,2}))?(?:\.\d{1,3})?")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python of this host, outside of any virtual environment.

    Attributes:
        program: The file to execute.
        version: As 3.12.1.
        trees: The folders that it imports from, besides those of the system.
        abi: What compiled packages depend on besides.
    """

    program: Path
    version: str
    trees: tuple[Path, ...]
    abi: str

    @property
    def minor(self) -> str:
        """As 3.12."""
        return ".".join(self.version.split(".")[:2])


@dataclass(frozen=True, slots=True)
class PythonWish:
    """What a plugin asks for.

    Attributes:
        minor: As 3.12; empty when it does not say.
        requires: A specifier, as `>=3.12`; empty when it does not say.
    """

    minor: str = ""
    requires: str = ""

    def __str__(self) -> str:
        """For people."""
        parts = [f"Python {self.minor} (meta.runner.version in manifest.yaml)" if self.minor else ""]
        parts.append(f"Python {self.requires} (requires-python in pyproject.toml)" if self.requires else "")
        return " and ".join(part for part in parts if part) or f"Python {SUPPORTED[0]} to {SUPPORTED[-1]}"

    def fits(self, interpreter: Interpreter) -> bool:
        """Whether an interpreter is what is asked for."""
        if self.minor and interpreter.minor != self.minor:
            return False
        try:
            return not self.requires or allows(self.requires, interpreter.version)
        except SpecifierError as error:
            raise BuildError(f"requires-python in pyproject.toml: {error}") from error


def read_wish(root: Path, requires: str) -> PythonWish:
    """Find out which Python a plugin asks for.

    Args:
        root: Its folder.
        requires: What `requires-python` says.
    """
    try:
        manifest = yaml.safe_load(PluginFiles(root).read("manifest.yaml"))
        version = str(manifest["meta"]["runner"]["version"])
    except (FileError, yaml.YAMLError, KeyError, TypeError, RecursionError, ValueError):
        version = ""  # what is wrong with a manifest, `executor check` tells
    found = _VERSION.fullmatch(version.strip())
    return PythonWish(f"3.{found[1]}" if found and found[1] else "", requires.strip())


def choose_interpreter(wish: PythonWish, pythons: Sequence[Path], *, download: bool) -> Interpreter:
    """Choose an interpreter.

    Args:
        wish: What the plugin asks for.
        pythons: Further interpreters, which come first.
        download: Whether uv may download one.

    Raises:
        BuildError: None fits.
    """
    _may_fit(wish, SUPPORTED[-1])  # says what is wrong with it, also where there is no interpreter that it could fit
    found = find_interpreters(tuple(pythons))
    good = [interpreter for interpreter in found if interpreter.minor in SUPPORTED and wish.fits(interpreter)]
    if good:
        return good[0]
    if download:
        fetched = _download(wish)
        if fetched is not None and fetched.minor in SUPPORTED and wish.fits(fetched):
            return fetched
    here = ", ".join(f"{interpreter.version} ({interpreter.program})" for interpreter in found) or "none"
    wanted = wish.minor or next((minor for minor in reversed(SUPPORTED) if _may_fit(wish, minor)), "")
    if wanted and wanted not in SUPPORTED:
        advice = (
            f"workers run with Python {SUPPORTED[0]} to {SUPPORTED[-1]}; ask the plugin's author for a newer version"
        )
    else:
        advice = (
            f"install Python {wanted or SUPPORTED[-1]}, or name its program in environments.pythons, or set "
            "environments.python_downloads: true"
        )
    raise BuildError(f"the plugin asks for {wish}, which this host does not have; it has {here}", advice=advice)


def _may_fit(wish: PythonWish, minor: str) -> bool:
    return wish.fits(Interpreter(Path("/"), f"{minor}.99", (), ""))


@functools.lru_cache(maxsize=4)
def find_interpreters(pythons: tuple[Path, ...] = ()) -> tuple[Interpreter, ...]:
    """Find the interpreters of this host: those that are named, then the others, newest first.

    They are found once in the life of a process.

    Raises:
        BuildError: One that is named does not run.
    """
    named = []
    for program in pythons:
        interpreter = _ask(program)
        if interpreter is None:
            raise BuildError(f"{program}, named in environments.pythons, is no Python that runs")
        named.append(interpreter)
    others: dict[Path, Interpreter] = {}
    seen: set[Path] = set()
    for program in _candidates():
        real = Path(os.path.realpath(program))
        if real in seen:
            continue
        seen.add(real)
        interpreter = _ask(program)
        if interpreter is not None:
            others.setdefault(interpreter.program, interpreter)
    ordered = sorted(others.values(), key=lambda found: [int(part) for part in re.findall(r"\d+", found.version)])
    return (*named, *reversed(ordered))


def _candidates() -> Iterator[Path]:
    """Programs that may be interpreters, by where they usually are. Everything named here is the host's."""
    names = [f"python{minor}" for minor in SUPPORTED] + ["python3"]
    folders = [Path(folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder[:1] == "/"]
    home = Path("~").expanduser()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    roots = [
        Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions",
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python"),
        Path(os.environ.get("ASDF_DATA_DIR") or home / ".asdf") / "installs/python",
        Path(os.environ.get("MISE_DATA_DIR") or data / "mise") / "installs/python",
        Path("/opt/python"),
    ]
    for root in roots:
        with contextlib.suppress(OSError):
            folders += sorted(folder / "bin" for folder in root.iterdir())
    folders += [Path("/usr/local/bin"), Path("/usr/bin")]
    for folder in folders:
        if folder.name == "shims":
            continue  # of pyenv and its like: scripts that choose by the working directory
        for name in names:
            if os.access(folder / name, os.X_OK):
                yield folder / name


def _ask(program: Path) -> Interpreter | None:
    """Have an interpreter tell about itself; None when it does not run, or is no CPython."""
    try:
        answer = subprocess.run(
            [program, "-I", "-S", "-c", _ASK],
            env={"PATH": os.defpath},
            capture_output=True,
            timeout=ASK_TIME_S,
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
        )
        facts: Mapping[str, str] = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if facts["name"] != "cpython":
        return None
    base = Path(os.path.realpath(facts["program"]))
    if not os.access(base, os.X_OK):
        return None
    trees = tuple(tree for tree in dict.fromkeys((Path(facts["base"]), Path(facts["exec"]))) if tree not in _SYSTEM)
    abi = f"{facts['name']}-{facts['version']}-{facts['machine']}-{facts['free']}"
    return Interpreter(base, facts["version"], trees, abi)


def _download(wish: PythonWish) -> Interpreter | None:
    """Have uv download an interpreter, with the executor's own network and configuration."""
    request = wish.minor or wish.requires or SUPPORTED[-1]
    program = uv.find_uv_bin()
    try:
        subprocess.run(
            [program, "python", "install", request],
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIME_S,
            check=True,
            cwd="/",
        )
        command = [program, "python", "find", "--managed-python", request]
        found = subprocess.run(command, capture_output=True, text=True, timeout=ASK_TIME_S, check=True, cwd="/")
    except subprocess.CalledProcessError as error:
        last = [line for line in (error.stderr or "").splitlines() if line.strip()][-5:]
        raise BuildError(f"Python {request} could not be downloaded", tail=last) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"Python {request} could not be downloaded: {error}") from error
    find_interpreters.cache_clear()
    return _ask(Path(found.stdout.strip()))

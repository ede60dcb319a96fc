"""One build: what is run in the workshop, in which order, and what is told about it."""

from __future__ import annotations

import collections
import os
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uv

from executor.config.environments import BuildLimits
from executor.environments.disk import measure_folder
from executor.environments.downloads import DownloadCache
from executor.environments.errors import BuildError
from executor.environments.indexes import IndexSettings
from executor.environments.interpreters import Interpreter
from executor.environments.mirror import Mirror
from executor.environments.reading import Account
from executor.environments.requirements import SDK, Requirements
from executor.environments.shelf import VENV, take_over
from executor.environments.upstream import Upstream
from executor.environments.workshop import Room, Workshop, WorkshopError
from executor.isolation.host import HostIsolation

__all__ = ["Build", "Plan", "Result"]

PROJECT: Final = "project"
CACHE: Final = "cache"
HOME: Final = "/tmp"  # noqa: S108 - of the view: private files of the workshop
LOCKED: Final = "locked.txt"
MAX_FOLDER: Final = 256 * 1024**2
"""Bytes of a plugin's folder that are copied for a build, five times what Dify takes as a package."""

BUILD_TREES: Final = (Path("/usr/include"), Path("/usr/local/include"))
"""What compilers need besides the programs and libraries that every view has."""

_USELESS: Final = frozenset({".git", ".venv", "__pycache__"})

TAIL: Final = 12
"""Lines of a failed build that are told."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be built.

    Attributes:
        root: The plugin's folder.
        requirements: What it depends on.
        python: The interpreter.
        indexes: Where packages come from.
        offline: Whether nothing is fetched.
    """

    root: Path
    requirements: Requirements
    python: Interpreter
    indexes: IndexSettings
    offline: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a build: packages as `name==version`, and how much disk it takes."""

    packages: tuple[str, ...]
    size: int
    files: int


class Build:
    """Runs once.

    Args:
        plan: What is to be built.
        room: An empty place for the folder that the build writes to.
        target: Where that folder will be, and is as the build sees it.
        limits: Of the build.
        progress: Told what is going on.

    Attributes:
        room: Holds the virtual environment when the build has run.
        cancelled: Ends the build when it is set.
    """

    def __init__(
        self, plan: Plan, room: Path, target: Path, limits: BuildLimits, progress: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self.room = room
        self._target = target
        self._limits = limits
        self._progress = progress
        self._uv = Path(os.path.realpath(uv.find_uv_bin()))
        self._env: dict[str, str] = {}
        self._account = Account(progress)
        self.cancelled = threading.Event()

    def run(self, host: HostIsolation, cache: DownloadCache, *, off: tuple[str, ...] = ()) -> Result:
        """Build the environment.

        Raises:
            BuildError: It failed.
        """
        try:
            return self._build(host, cache, off)
        except OSError as error:  # a build can leave files that nobody can remove, and a plugin have such
            raise BuildError(f"the files of the build cannot be used: {error}") from error

    def _build(self, host: HostIsolation, cache: DownloadCache, off: tuple[str, ...]) -> Result:
        plan = self._plan
        for note in plan.requirements.notes:
            self._progress(note)
        self._progress(f"building with Python {plan.python.version}")
        self._lay_out()
        room = Room(self.room, self._target, (self._uv, *plan.python.trees, *BUILD_TREES), off)
        with Workshop(room, host, self._limits) as workshop:
            upstream = Upstream(plan.indexes, cache, offline=plan.offline)
            port = workshop.listener.getsockname()[1]
            with Mirror(workshop.listener, upstream, self._account.on_file) as mirror:
                workshop.count_as_output(lambda: mirror.requests)
                workshop.end_when(self.cancelled.is_set)
                self._env = self._environment(port)
                self._install(workshop, mirror)
            workshop.seal()
            self._try(workshop)
            packages = self._list(workshop)
        return self._finish(packages)

    def _lay_out(self) -> None:
        """Put what uv reads into the folder that the build writes to."""
        project = self.room / PROJECT
        if self._plan.requirements.needs_folder:
            size, _ = measure_folder(self._plan.root, most_files=20_000)
            if size > MAX_FOLDER:
                raise BuildError(
                    f"{self._plan.root} is larger than {MAX_FOLDER} bytes, and its files are required as packages"
                )
            self.room.mkdir(parents=True)
            shutil.copytree(self._plan.root, project, symlinks=True, ignore=_leave_out)
        for path, content in self._plan.requirements.files.items():
            file = project / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            file.write_bytes(content)
        (self.room / CACHE).mkdir()

    def _environment(self, port: int) -> dict[str, str]:
        target = self._target
        base = f"http://127.0.0.1:{port}"
        indexes = [f"{base}/i/{number}" for number in range(len(self._plan.indexes.indexes))]
        return {
            "PATH": f"{target / VENV}/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": HOME,
            "TMPDIR": f"{target / CACHE}",
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "UV_CACHE_DIR": f"{target / CACHE}/uv",
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_LINK_MODE": "hardlink",
            "UV_DEFAULT_INDEX": indexes[-1],
            "UV_INDEX": " ".join(indexes[:-1]),
            "UV_FIND_LINKS": ",".join(f"{base}/l/{number}/" for number in range(len(self._plan.indexes.links))),
            "UV_INDEX_STRATEGY": "unsafe-best-match" if self._plan.indexes.best_match else "first-index",
            "UV_HTTP_TIMEOUT": "300",
            "UV_CONCURRENT_DOWNLOADS": "16",
            "UV_CONCURRENT_BUILDS": "2",
            "UV_NO_INSTALLER_METADATA": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "CARGO_NET_OFFLINE": "true",
        }

    def _install(self, workshop: Workshop, mirror: Mirror) -> None:
        target, requirements = self._target, self._plan.requirements
        python = str(target / VENV / "bin" / "python")
        self._command(workshop, "venv", "--python", str(self._plan.python.program), "--no-project", str(target / VENV))
        source, more = requirements.main, []
        if requirements.kind == "lock":
            source = LOCKED
            options = (
                "--frozen",
                "--no-dev",
                "--no-emit-project",
                "--no-editable",
                "--no-header",
                "--no-annotate",
                "--quiet",
            )
            self._command(workshop, "export", *options, "--python", python, "--output-file", LOCKED)
            more = ["--require-hashes"] if not requirements.needs_folder else []
            more.append("--no-deps")
        try:
            self._command(workshop, "pip", "install", "--python", python, "--compile-bytecode", *more, "-r", source)
        except WorkshopError:
            raise
        except BuildError as error:
            raise self._account.explain(error, mirror.problems, self._plan) from error

    def _try(self, workshop: Workshop) -> None:
        """Import the SDK, which every worker will."""
        self._progress("importing dify_plugin")
        python = str(self._target / VENV / "bin" / "python")
        try:
            self._run(workshop, [python, "-I", "-c", "import dify_plugin"])
        except WorkshopError:
            raise
        except BuildError as error:
            if SDK not in self._plan.requirements.names and "No module named 'dify_plugin'" in "".join(error.tail):
                main = self._plan.requirements.main
                raise BuildError(
                    f"{main} does not name dify_plugin, without which no endpoint can be imported",
                    advice=f"add dify_plugin to {main}",
                ) from error
            raise BuildError(f"dify_plugin cannot be imported: {error.message}", tail=error.tail) from error

    def _list(self, workshop: Workshop) -> tuple[str, ...]:
        found: list[str] = []
        python = str(self._target / VENV / "bin" / "python")
        self._run(workshop, [str(self._uv), "pip", "freeze", "--python", python], on_line=found.append)
        return tuple(line for line in found if re.fullmatch(r"[A-Za-z0-9._-]+(==| @ )\S+", line))

    def _finish(self, packages: tuple[str, ...]) -> Result:
        """Keep the virtual environment only, and make it ours."""
        for entry in list(self.room.iterdir()):
            if entry.name != VENV:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        venv = self.room / VENV
        if venv.is_symlink() or not venv.is_dir():  # workers would see what the link leads to
            raise BuildError(f"the build has replaced the folder of the environment, {venv}")
        take_over(self.room)
        program = venv / "bin" / "python"
        if not program.is_symlink() or os.path.realpath(program) != str(self._plan.python.program):
            raise BuildError(f"the build has replaced the interpreter of the environment, {program}")
        size, files = measure_folder(self.room, most_files=self._limits.files)
        return Result(packages, size, files)

    def _command(self, workshop: Workshop, *arguments: str) -> None:
        self._run(workshop, [str(self._uv), *arguments])

    def _run(self, workshop: Workshop, argv: Sequence[str], *, on_line: Callable[[str], None] | None = None) -> None:
        tail: collections.deque[str] = collections.deque(maxlen=TAIL)

        def take(line: str) -> None:
            tail.append(line)
            (on_line or self._account.on_line)(line)

        try:
            status = workshop.run(argv, self._env, cwd=self._target / PROJECT, on_line=take)
        except WorkshopError:
            raise
        except BuildError as error:
            raise BuildError(f"the build was ended: {error.message}", tail=tail, advice=error.advice) from error
        if status != 0:
            how = f"ended with status {status}" if status > 0 else f"was killed by signal {-status}"
            raise BuildError(f"{Path(argv[0]).name} {_verb(argv)}{how}", tail=tail)


def _verb(argv: Sequence[str]) -> str:
    words = [word for word in argv[1:3] if not word.startswith("-") and "/" not in word]
    return "".join(f"{word} " for word in words)


def _leave_out(folder: str, names: list[str]) -> list[str]:
    """Leave out what is of no use, and what is neither file nor folder: links could lead anywhere."""
    paths = [Path(folder, name) for name in names]
    return [path.name for path in paths if path.name in _USELESS or path.is_symlink() or not _is_plain(path)]


def _is_plain(path: Path) -> bool:
    return path.is_file() or path.is_dir()

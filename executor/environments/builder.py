"""The builder: from a plugin's folder to an environment that its workers run in.

    with EnvironmentBuilder(state_dir, settings, host) as builder:
        environment = builder.build(plugin.root, plugin.digest, print)

An environment is built once for all plugins that depend on the same: its digest is over the files that it is built
from, the interpreter, the machine, and the settings of indexes. Who wants it while another builds it waits for that.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from executor.config.environments import EnvironmentSettings
from executor.environments.build import Build, Plan
from executor.environments.downloads import DownloadCache
from executor.environments.environment import Environment
from executor.environments.errors import BuildError
from executor.environments.indexes import IndexSettings, find_indexes
from executor.environments.interpreters import choose_interpreter, read_wish
from executor.environments.requirements import read_requirements
from executor.environments.shelf import Record, Shelf, Use
from executor.errors import number_of
from executor.isolation.host import HostIsolation

__all__ = ["EnvironmentBuilder", "Progress"]

Progress = Callable[[str], None]
"""Told what is going on, a line each; may be called by any thread."""

VERSION: Final = b"1"
"""Of how environments are built; another one makes all of them anew."""


class EnvironmentBuilder:
    """Builds environments, and keeps those that it has given from being removed until it is closed.

    Attributes:
        settings: The section `environments`; it may be replaced between builds.
        shelf: Where environments are kept.

    Args:
        state_dir: The state folder.
        settings: The section `environments` of the configuration.
        host: What builds are isolated with.
        off: Layers that are left out; for tests that see what they are good for.
    """

    def __init__(
        self, state_dir: Path, settings: EnvironmentSettings, host: HostIsolation, *, off: tuple[str, ...] = ()
    ) -> None:
        self.settings = settings
        self._host = host
        self._off = off
        self._uses: dict[str, Use] = {}
        self._indexes: tuple[EnvironmentSettings, IndexSettings] | None = None
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self.shelf = Shelf(Path(os.path.realpath(state_dir)) / "environments")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let environments be removed."""
        for use in self._uses.values():
            use.close()
        self._uses.clear()

    def cancel(self) -> None:
        """End the build that is under way, and begin none; any thread may call it."""
        self._cancelled.set()

    def build(self, root: Path, digest: str, progress: Progress) -> Environment:
        """Have the environment of a plugin, building it if there is none.

        Args:
            root: The plugin's folder; only read.
            digest: Of the plugin's files.
            progress: Told what is going on.

        Raises:
            BuildError: There is none; the text says what failed and what to do.
        """
        plan, key = self._plan(root, digest)
        self._keep(key)
        if self.shelf.find(key) is None:
            self._make(plan, key, progress)
        return Environment(self.shelf.venv(key) / "bin" / "python", (self.shelf.venv(key), *plan.python.trees), key)

    def place(self, root: Path, digest: str) -> Path:
        """Tell where the environment of a plugin is, or will be, without building it.

        Raises:
            BuildError: There cannot be one.
        """
        return self.shelf.place(self._plan(root, digest)[1])

    def _plan(self, root: Path, digest: str) -> tuple[Plan, str]:
        requirements = read_requirements(root)
        if requirements is None:
            raise BuildError(
                f"{root} has neither pyproject.toml nor requirements.txt, so there is nothing to build its environment "
                "from",
                advice="add one that names dify_plugin, or serve it with `environment: shared`",
            )
        wish = read_wish(root, requirements.python)
        settings = self.settings
        python = choose_interpreter(wish, settings.pythons, download=settings.python_downloads)
        with self._lock:
            if self._indexes is None or self._indexes[0] != settings:
                self._indexes = settings, find_indexes(settings)
            indexes = self._indexes[1]
        plan = Plan(root, requirements, python, indexes, offline=settings.offline)
        return plan, self._key(plan, digest)

    def collect(self, keep_s: float | None = None) -> tuple[Path, ...]:
        """Remove environments that nobody uses, and downloads over their size.

        Args:
            keep_s: How long ago the last use must be; as configured when not given.

        Returns:
            The environments that were removed.
        """
        now = time.time()
        DownloadCache(self.shelf.downloads, self.settings.download_cache).trim(now)
        return self.shelf.collect(keep_s=self.settings.keep_time if keep_s is None else keep_s, now=now)

    def _keep(self, key: str) -> None:
        """Keep an environment from being removed, and note that it is used now."""
        use = self.shelf.use(key)
        with self._lock:
            before, self._uses[key] = self._uses.get(key), use
        if before is not None:
            before.close()

    def _make(self, plan: Plan, key: str, progress: Progress) -> None:
        with self.shelf.building(key, lambda: progress("another process is building this environment; waiting for it")):
            if self.shelf.find(key) is not None:
                return
            begun = time.monotonic()
            cache = DownloadCache(self.shelf.downloads, self.settings.download_cache)
            with self.shelf.work(key) as folder:
                build = Build(plan, folder / "room", self.shelf.place(key), self.settings.limits, progress)
                build.cancelled = self._cancelled
                result = build.run(self._host, cache, off=self._off)
                record = Record(
                    digest=key,
                    python=plan.python.version,
                    program=str(plan.python.program),
                    kind=plan.requirements.kind,
                    plugin=str(plan.root),
                    packages=result.packages,
                    size=result.size,
                    files=result.files,
                    built_at=time.time(),
                    seconds=round(time.monotonic() - begun, 3),
                )
                try:
                    self.shelf.put(build.room, record)
                except OSError as error:
                    raise BuildError(f"the environment could not be kept in {self.shelf.folder}: {error}") from error
            packages = number_of(len(result.packages), "package")
            progress(f"built with {packages}, {result.size >> 20} MiB, {record.seconds:.1f} s")

    def _key(self, plan: Plan, plugin_digest: str) -> str:
        """The digest of all that decides what comes of a build."""
        digest = hashlib.sha256(VERSION)
        plan.requirements.update(digest)
        if plan.requirements.needs_folder:
            digest.update(plugin_digest.encode())
        parts = [
            plan.python.abi,
            str(plan.python.program),
            os.uname().machine,
            *plan.indexes.indexes,
            *plan.indexes.links,
        ]
        parts.append(str(plan.indexes.best_match))
        for part in parts:
            digest.update(f"{len(part)}:{part}".encode())
        return digest.hexdigest()

"""What uv says, for people: how far a build is, and why one has failed."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from executor.environments.errors import BuildError
from executor.environments.indexes import hide_password
from executor.errors import number_of

if TYPE_CHECKING:
    from executor.environments.build import Plan

__all__ = ["Account"]

_RESOLVED: Final = re.compile(r"Resolved (\d+) packages?")
_BUILDING: Final = re.compile(r"\s*Building (\S+)")
_BUILT: Final = re.compile(r"\s*Built (\S+)")
_PREPARED: Final = re.compile(r"(Prepared|Installed|Bytecode compiled) (\d+) (\w+)")
_ARCHIVE: Final = re.compile(
    r"(?P<name>.+?)-(?P<version>\d[^-]*)(?:-.*)?(?:\.whl|\.tar\.gz|\.zip|\.tar\.bz2|\.tar\.xz)"
)
_UNKNOWN: Final = re.compile(r"(\S+) was not found in the package registry|there (?:is|are) no versions? of (\S+)")
_ELSEWHERE: Final = re.compile(r"(git\+\S+|https?://(?!127\.0\.0\.1)\S+)")


class Account:
    """Makes lines of progress of what happens; several threads may tell it.

    Args:
        progress: Told each line.
    """

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._total = 0
        self._fetched: set[str] = set()

    def on_file(self, name: str, size: int | None) -> None:
        """Take account of a file that was fetched, once: uv reads some for what they require, and again to install."""
        found = _ARCHIVE.fullmatch(name)
        shown = f"{found['name']} {found['version']}" if found else name
        with self._lock:
            if name in self._fetched:
                return
            self._fetched.add(name)
            number = len(self._fetched)
            of = f" of {self._total}" if self._total >= number else ""
            self._progress(f"fetched {number}{of}: {shown}{'' if size is None else f' ({_size(size)})'}")

    def on_line(self, line: str) -> None:
        """Take account of a line that uv has printed."""
        resolved = _RESOLVED.match(line)
        if resolved:
            self._total = int(resolved[1])
            self._progress(f"resolved {number_of(self._total, 'package')}")
        elif found := _BUILDING.match(line):
            self._progress(f"building {found[1]} from source")
        elif found := _BUILT.match(line):
            self._progress(f"built {found[1]}")
        elif found := _PREPARED.match(line):
            self._progress(f"{found[1].lower()} {found[2]} {found[3]}")

    def explain(self, error: BuildError, problems: Sequence[str], plan: Plan) -> BuildError:
        """Say what to do about a failed installation.

        Args:
            error: As it was seen.
            problems: What could not be fetched.
            plan: What was to be built.
        """
        text = " ".join(error.tail)
        file = plan.requirements.main
        unknown = _UNKNOWN.search(text)
        elsewhere = _ELSEWHERE.search(text)
        if problems:
            advice = "could not be fetched: " + "; ".join(problems[:5])
        elif elsewhere and not unknown:
            advice = (
                f"{elsewhere[1]} is not on a package index; builds reach nothing else. Put the package on an index of "
                "your own (environments.extra_index_urls), or as a file into the plugin's folder"
            )
        elif unknown:
            shown = ", ".join(hide_password(url) for url in plan.indexes.indexes)
            advice = f"{unknown[1] or unknown[2]} is on none of the indexes that are used: {shown}"
            if plan.offline:
                advice += "; environments.offline is on, so only what was fetched before counts"
        elif "Failed to build" in text or "build backend" in text:
            advice = (
                "a package has no wheel for this Python and machine and could not be built from source; if it lacks a "
                "compiler or headers, install them on this host"
            )
        else:
            advice = f"correct {file} in {plan.root}, or the indexes in environments"
        return BuildError(
            f"the requirements of {plan.root.name} ({file}) could not be installed: {error.message}",
            tail=error.tail,
            advice=advice,
        )


def _size(size: int) -> str:
    return f"{size / 1024**2:.1f} MiB" if size >= 1024**2 else f"{max(1, size >> 10)} KiB"

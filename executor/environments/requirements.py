"""What a plugin says that it depends on: the files that an environment is built from.

As in Dify, `pyproject.toml` counts if there is one, with `uv.lock` beside it, and `requirements.txt` otherwise. Files
are read as those of a stranger: bounded, regular, inside the plugin. Nothing of them is run here. What is written
down for uv differs from what was read in a few lines only:

- Options of `requirements.txt` that say where packages come from are left out: the operator says that.
- Links to other requirements files are followed within the plugin, and these are written down the same way.

Requirements that are paths, and what a `pyproject.toml` may refer to, are taken from a copy of the plugin's folder.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from executor.catalog.files import FileError, PluginFiles
from executor.environments.errors import BuildError

__all__ = ["SDK", "Requirements", "project_name", "read_requirements"]

PYPROJECT: Final = "pyproject.toml"
LOCK: Final = "uv.lock"
REQUIREMENTS: Final = "requirements.txt"
SDK: Final = "dify-plugin"

MAX_LOCK: Final = 16 * 1024**2
MAX_FILES: Final = 32
MAX_LINES: Final = 10_000

_PLACES: Final = re.compile(
    r"\s*(?:-i|-f|--index[-_]url|--extra[-_]index[-_]url|--find[-_]links|--trusted[-_]host|--no[-_]index)(?:[\s=]|$)"
)
_NESTED: Final = re.compile(r"\s*(-r|-c|--requirement|--constraint)(?:\s+|=)\s*(\S+)\s*(?:#.*)?$")
_NESTED_SHORT: Final = re.compile(r"\s*(-r|-c)(\S+)\s*$")
_EDITABLE: Final = re.compile(r"\s*(?:-e|--editable)(?:\s+|=)\s*")
_PATH: Final = re.compile(r"\s*(?:\.|/|file:|\S+\.(?:whl|tar\.gz|zip)\s*$|\S+\s*@\s*(?:\.|/|file:))")
_NAME: Final = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:[\[<>=!~;@ ]|$)")


@dataclass(frozen=True, slots=True)
class Requirements:
    """What an environment is built from.

    Attributes:
        kind: `lock`, `pyproject` or `requirements`.
        files: What uv is given, by path relative to the plugin's folder.
        python: What `requires-python` says; empty where nothing does.
        names: Normalised names of the packages that are asked for directly.
        needs_folder: Whether files of the plugin's folder are required as packages.
        notes: What was left out, a sentence each.
    """

    kind: str
    files: Mapping[str, bytes] = field(repr=False)
    python: str = ""
    names: frozenset[str] = frozenset()
    needs_folder: bool = False
    notes: tuple[str, ...] = ()

    @property
    def main(self) -> str:
        """The file that all begins with."""
        return REQUIREMENTS if self.kind == "requirements" else PYPROJECT

    @property
    def is_only_sdk(self) -> bool:
        """Whether nothing is asked for but the SDK, which the executor's own environment has as well."""
        return self.names <= {SDK}

    def update(self, digest: hashlib._Hash) -> None:
        """Add all that decides what comes of it to a digest."""
        digest.update(self.kind.encode())
        for path, content in sorted(self.files.items()):
            digest.update(f"{len(path)}:{path}:{len(content)}:".encode())
            digest.update(content)


def project_name(text: str) -> str:
    """Normalise the name of a package."""
    return re.sub(r"[-_.]+", "-", text).lower()


def read_requirements(root: Path) -> Requirements | None:
    """Read what a plugin depends on.

    Args:
        root: Its folder.

    Returns:
        None when there is neither a `pyproject.toml` nor a `requirements.txt`.

    Raises:
        BuildError: A file cannot be used.
    """
    files = PluginFiles(root)
    if (root / PYPROJECT).exists():
        return _read_pyproject(files)
    if (root / REQUIREMENTS).exists():
        return _Reader(files).read()
    return None


def _read_pyproject(files: PluginFiles) -> Requirements:
    content = _read(files, PYPROJECT)
    try:
        document = tomllib.loads(content.decode())
        project = _table(document, "project")
        names = frozenset(_names(project.get("dependencies", [])))
        python = project.get("requires-python", "")
    except (ValueError, RecursionError) as error:
        raise BuildError(f"{PYPROJECT} cannot be read: {error}") from error
    if not project:
        raise BuildError(f"{PYPROJECT} has no [project], which would say what the plugin depends on")
    found = {PYPROJECT: content}
    locked = (files.root / LOCK).exists()
    if locked:
        found[LOCK] = _read(files, LOCK, MAX_LOCK)
    return Requirements(
        kind="lock" if locked else "pyproject",
        files=found,
        python=python if isinstance(python, str) else "",
        names=names,
        needs_folder=_uses_folder(document, found.get(LOCK, b"")),
    )


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name, {})
    return found if isinstance(found, dict) else {}


def _uses_folder(document: Mapping[str, Any], lock: bytes) -> bool:
    """Whether some source is a path."""
    sources = _table(_table(_table(document, "tool"), "uv"), "sources").values()
    listed = [source for entry in sources for source in (entry if isinstance(entry, list) else [entry])]
    local = any(isinstance(source, dict) and {"path", "workspace"} & set(source) for source in listed)
    return local or re.search(rb"source = \{ (?:path|directory|editable) = \"[^.\"]", lock) is not None


def _names(requirements: object) -> Iterator[str]:
    for requirement in requirements if isinstance(requirements, list) else ():
        found = _NAME.match(str(requirement))
        if found:
            yield project_name(found[1])


def _read(files: PluginFiles, path: str, limit: int | None = None) -> bytes:
    try:
        return files.read(path) if limit is None else files.read(path, limit)
    except FileError as error:
        raise BuildError(f"{path}: {error}") from error


class _Reader:
    """Reads `requirements.txt` and the files that it names."""

    def __init__(self, files: PluginFiles) -> None:
        self._files = files
        self._written: dict[str, bytes] = {}
        self._names: set[str] = set()
        self._notes: dict[str, None] = {}
        self._needs_folder = False

    def read(self) -> Requirements:
        """Read all of them.

        Raises:
            BuildError: One cannot be used.
        """
        pending = [(REQUIREMENTS, False)]
        while pending:
            path, constrains = pending.pop()
            if path in self._written:
                continue
            if len(self._written) >= MAX_FILES:
                raise BuildError(f"{REQUIREMENTS} leads to more than {MAX_FILES} files")
            self._written[path] = b""
            lines, nested = self._filter(path, constrains=constrains)
            self._written[path] = "".join(f"{line}\n" for line in lines).encode()
            pending += nested
        return Requirements(
            kind="requirements",
            files=self._written,
            names=frozenset(self._names),
            needs_folder=self._needs_folder,
            notes=tuple(self._notes),
        )

    def _filter(self, path: str, *, constrains: bool) -> tuple[list[str], list[tuple[str, bool]]]:
        """Read one file; the lines for uv, and the files that it names, with whether they constrain only."""
        kept: list[str] = []
        nested: list[tuple[str, bool]] = []
        for line in self._lines(path):
            found = _NESTED.match(line) or _NESTED_SHORT.match(line)
            if _PLACES.match(line):
                option = line.split("=")[0].split()[0]
                self._notes[
                    f"{path} says {option}, which is left out: the executor's configuration says where from"
                ] = None
            elif found:
                other = posixpath.normpath(posixpath.join(posixpath.dirname(path), found[2]))
                nested.append((other, constrains or found[1] in {"-c", "--constraint"}))
                kept.append(line)
            else:
                kept.append(self._take(line, constrains=constrains))
        return kept, nested

    def _take(self, line: str, *, constrains: bool) -> str:
        """Take account of a requirement; how it is written for uv."""
        plain = _EDITABLE.sub("", line)
        if _PATH.match(plain):
            self._needs_folder = True
        name = _NAME.match(plain)
        if constrains:
            return plain
        if name:
            self._names.add(project_name(name[1]))
        elif plain.strip() and not plain.lstrip().startswith(("#", "-")):
            self._names.add("")  # something without a name is more than the SDK
        return plain

    def _lines(self, path: str) -> list[str]:
        text = _decode(_read(self._files, path), path)
        lines = re.sub(r"\\\r?\n", " ", text).splitlines()
        if len(lines) > MAX_LINES:
            raise BuildError(f"{path} has more than {MAX_LINES} lines")
        return lines


def _decode(content: bytes, path: str) -> str:
    """Read text as pip does: with a mark of its encoding where it has one, such as files that Windows has written."""
    marks = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    encoding = next((name for mark, name in marks.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise BuildError(f"{path} is not text in UTF-8: {error}") from error

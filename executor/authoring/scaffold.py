"""Beginning a new plugin: the files of `template/`, with names filled in, written where nothing is yet."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import yaml

from executor.catalog.findings import printable, shorten
from executor.errors import ExecutorError

__all__ = ["AUTHOR", "NAME", "NameRule", "NewPlugin", "ScaffoldError", "render_files", "suggest", "write_plugin"]

SUFFIX: Final = ".in"
"""Of the files in `template/`, so that nobody takes them for what they will be."""

PLACES: Final = {
    "group/group.yaml": "group/{name}.yaml",
    "difyignore": ".difyignore",
    "gitignore": ".gitignore",
}
"""Where files go whose name is another one in `template/`."""

LONGEST_TEXT: Final = 500
_PLACEHOLDER: Final = re.compile(r"@([a-z_]+)@")


class ScaffoldError(ExecutorError):
    """The plugin cannot be written; the text says why."""

    code = "init.refused"


@dataclass(frozen=True, slots=True)
class NameRule:
    """What a name may be, by Dify's contract.

    Attributes:
        what: Whose name.
        longest: Most characters.
    """

    what: str
    longest: int

    def check(self, name: str) -> str:
        """Return the name.

        Raises:
            ScaffoldError: It is not allowed; the text says what is, and suggests another one.
        """
        if re.fullmatch(rf"[a-z0-9_-]{{1,{self.longest}}}", name, re.ASCII):
            return name
        found = f'"{printable(shorten(name))}"' if name else "nothing"
        other = suggest(name, "")[: self.longest]
        hint = f"; how about {other}?" if other and other != name else ""
        raise ScaffoldError(f"{self.what} must be 1 to {self.longest} of a-z, 0-9, _ and -, found {found}{hint}")


NAME: Final = NameRule("the plugin's name", 128)
AUTHOR: Final = NameRule("the author", 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPlugin:
    """What a new plugin is called.

    Attributes:
        name: By `NAME`.
        author: By `AUTHOR`.
        label: Name for people, one line.
        description: For people, one line.
    """

    name: str
    author: str
    label: str
    description: str

    def __post_init__(self) -> None:
        NAME.check(self.name)
        AUTHOR.check(self.author)
        for what, text in (("label", self.label), ("description", self.description)):
            if not text.strip() or len(text) > LONGEST_TEXT or not text.isprintable():
                raise ScaffoldError(f"the {what} must be a line of 1 to {LONGEST_TEXT} characters")


def suggest(text: str, otherwise: str) -> str:
    """Make a name of a text, such as `my_cat` of `My Cat!`."""
    name = re.sub(r"[^a-z0-9_-]+", "_", text.strip().lower(), flags=re.ASCII).strip("_-")
    return name or otherwise


def render_files(plugin: NewPlugin, now: datetime | None = None) -> dict[str, str]:
    """Write all files of a new plugin, by their paths in its folder."""
    values = {
        "name": plugin.name,
        "quoted_name": _quote(plugin.name),
        "author": _quote(plugin.author),
        "label": json.dumps(plugin.label, ensure_ascii=False),
        "description": json.dumps(plugin.description, ensure_ascii=False),
        "title": _plain(plugin.label),
        "about": _plain(plugin.description),
        "created_at": (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    template = resources.files("executor.authoring") / "template"
    found = {path.removesuffix(SUFFIX): file for path, file in _walk(template, "")}
    return {
        PLACES.get(path, path).format(name=plugin.name): _fill(file.read_text(encoding="utf-8"), values)
        for path, file in sorted(found.items())
    }


def write_plugin(folder: Path, files: Mapping[str, str]) -> None:
    """Write a new plugin; nothing that is there is touched.

    Args:
        folder: Made if need be.
        files: Texts, by path.

    Raises:
        ScaffoldError: Something is in the way, and then nothing was written; or it could not be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ScaffoldError(f"{folder} is not a folder; name another one")
    present = [path for path in files if (folder / path).exists() or (folder / path).is_symlink()]
    if present:
        listed = ", ".join(present[:5]) + (f" and {len(present) - 5} more" if len(present) > 5 else "")  # noqa: PLR2004
        raise ScaffoldError(f"{folder} has {listed} already, and nothing is overwritten; name another folder")
    written: list[Path] = []
    try:
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8", newline="\n") as file:
                written.append(target)
                file.write(text)
    except OSError as error:
        for target in written:
            target.unlink(missing_ok=True)
        raise ScaffoldError(f"{error.filename or folder} cannot be written: {error.strerror}") from error


def _quote(name: str) -> str:
    """Quote a name that YAML would take for something else than a text, such as `1` or `null`."""
    return name if yaml.safe_load(name) == name else json.dumps(name)


def _plain(text: str) -> str:
    """Keep a text from being taken for Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#+!|&])", r"\\\1", text)


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found = []
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            found += _walk(entry, f"{path}/")
        elif path.endswith(SUFFIX):
            found.append((path, entry))
    return found


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)

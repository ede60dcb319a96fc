"""What the command line adds to the configuration, or puts in place of what the file says.

`--set HOOK.NAME=VALUE` gives the value of a hook's setting as a text, exactly as it stands after the `=`. The
plugin's declaration decides what becomes of it: `true` and `0` are booleans where it says so. `--set
HOOK.NAME:=JSON` gives anything else, such as a map; `{"from_env": "NAME"}` works there as in the file. The
hook's id ends at the first dot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from executor.config.places import KeyPath, Place, Problem, Source

__all__ = ["GivenValue", "Overrides", "apply_overrides"]

_SET: Final = re.compile(r"(?P<hook>[^.=:]+)\.(?P<name>[^=:]+)(?P<kind>:?=)(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class GivenValue:
    """A value from somewhere else than the configuration file.

    Attributes:
        path: The way to it in the configuration.
        value: Plain data.
        place: Where it was given.
    """

    path: KeyPath
    value: object
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Options of the command line; what is `None` or empty was not given.

    Attributes:
        host: `listen.host`.
        port: `listen.port`.
        admin_port: `admin.port`.
        state_dir: `state_dir`.
        debug: `debug`.
        environment: `environments.default`.
        plugins: Plugin folders, served besides those of the file.
        settings: Texts of `--set`.
        values: Further values, of which later ones win; those of `settings` win over all of them.
    """

    host: str | None = None
    port: int | None = None
    admin_port: int | None = None
    state_dir: Path | None = None
    debug: bool | None = None
    environment: str | None = None
    plugins: tuple[Path, ...] = ()
    settings: tuple[str, ...] = ()
    values: tuple[GivenValue, ...] = ()


def apply_overrides(source: Source, overrides: Overrides) -> tuple[Source, list[Problem]]:
    """Put the options of the command line over a document.

    Relative paths of the command line start at the working directory, those of the file at the file's folder.

    Returns:
        (document, problems): the document that results, and what is wrong with the options.
    """
    editor = _Editor(source)
    for path, value, option in _simple(overrides):
        editor.put(path, value, Place(origin=option))
    editor.add_plugins(overrides.plugins)
    for given in overrides.values:
        editor.put(given.path, given.value, given.place)
    for text in overrides.settings:
        editor.set(text)
    return editor.finish(), editor.problems


def _simple(overrides: Overrides) -> Iterator[tuple[KeyPath, object, str]]:
    """List what replaces a single value: path, value, option."""
    state_dir = None if overrides.state_dir is None else str(overrides.state_dir.absolute())
    rows: tuple[tuple[KeyPath, object, str], ...] = (
        (("listen", "host"), overrides.host, "--host"),
        (("listen", "port"), overrides.port, "--port"),
        (("admin", "port"), overrides.admin_port, "--admin-port"),
        (("state_dir",), state_dir, "--state-dir"),
        (("debug",), overrides.debug, "--debug"),
        (("environments", "default"), overrides.environment, "--shared-environment"),
    )
    return (row for row in rows if row[1] is not None)


class _Editor:
    """A copy of a document that changes, with the places of what is in it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._data = dict(source.data)
        self._values = dict(source.values)
        self._keys = dict(source.keys)
        self.problems: list[Problem] = []

    def finish(self) -> Source:
        return Source(self._source.file, self._data, self._keys, self._values, self._source.problems)

    def put(self, path: KeyPath, value: object, place: Place) -> None:
        """Set one value, with the maps around it; a file that has something else there is refused later."""
        data = self._data
        for part in path[:-1]:
            inner = data.get(str(part))
            inner = {} if inner is None else inner
            if not isinstance(inner, Mapping):
                return
            copied = dict(inner)
            data[str(part)] = copied
            data = copied
        data[str(path[-1])] = value
        for places in (self._values, self._keys):
            for known in [known for known in places if known[: len(path)] == path]:
                del places[known]
            for end in range(1, len(path) + 1):
                places.setdefault(path[:end], place)

    def add_plugins(self, plugins: tuple[Path, ...]) -> None:
        present = self._data.get("plugins") or []
        if not plugins or not isinstance(present, list):
            return
        combined = list(present)
        for plugin in plugins:
            text = str(plugin.absolute())
            path = ("plugins", len(combined))
            self._values[path] = self._keys[path] = Place(origin=str(plugin))
            combined.append({"path": text})
        self._data["plugins"] = combined

    def set(self, text: str) -> None:
        match = _SET.fullmatch(text)
        if match is None:
            shown = text.partition("=")[0]
            self._complain(shown, "it is no value of a setting", "HOOK.NAME=VALUE, or HOOK.NAME:=JSON")
            return
        value: object = match["value"]
        option = f"--set {match['hook']}.{match['name']}"
        if match["kind"] == ":=":
            try:
                value = json.loads(match["value"])
            except (ValueError, RecursionError):
                self._complain(option.removeprefix("--set "), "the value after := is not JSON", "a JSON value")
                return
        self.put(("hooks", match["hook"], "settings", match["name"]), value, Place(origin=option))

    def _complain(self, shown: str, message: str, expected: str) -> None:
        self.problems.append(
            Problem(
                name="",
                place=Place(origin=f"--set {shown}"),
                found=shown,
                expected=expected,
                message=f"{message}; expected {expected}",
            )
        )

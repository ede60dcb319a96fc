"""Reading a YAML file as plain data, with the place of every key and value."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml
from yaml.constructor import SafeConstructor

from executor.config.places import ConfigError, KeyPath, Place, Problem, Source, dotted

__all__ = ["parse_document", "read_document"]

MAX_FILE_BYTES: Final = 1024**2
MAX_VALUES: Final = 50_000
"""Values in a document, each use of an alias counted."""
MAX_DEPTH: Final = 32


def read_document(file: Path) -> Source:
    """Read a configuration file.

    Raises:
        ConfigError: It cannot be read, or is not YAML with a map at the top.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _refusal(
            Place(file=file), "", reason, "a readable file", f"cannot be read: {reason}"
        ) from error
    if len(content) > MAX_FILE_BYTES:
        message = f"larger than {MAX_FILE_BYTES} bytes"
        raise _refusal(Place(file=file), "", message, f"at most {MAX_FILE_BYTES} bytes", message)
    return parse_document(content, file)


def parse_document(content: bytes | str, file: Path | None = None) -> Source:
    """Read a configuration that is in memory already.

    Raises:
        ConfigError: It is not YAML with a map at the top.
    """
    try:
        node = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file=file) if mark is None else _place(file, mark)
        problem = error.problem or "not YAML"
        raise _refusal(place, "", problem, "YAML", f"not valid YAML: {problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(Place(file=file), "", "something else", "YAML", "not valid YAML") from error
    if node is None:
        return Source(file)
    reader = _Reader(file)
    data = reader.read(node, ())
    if data is not None and not isinstance(data, dict):
        reader.complain(node, (), "a map of settings at the top", _describe(node))
    if reader.problems:
        raise ConfigError(tuple(reader.problems))
    return Source(file, data or {}, reader.keys, reader.values)


class _Reader:
    """Turns nodes into plain data and remembers where they were."""

    def __init__(self, file: Path | None) -> None:
        self.keys: dict[KeyPath, Place] = {}
        self.values: dict[KeyPath, Place] = {}
        self.problems: list[Problem] = []
        self._file = file
        self._count = 0
        self._scalars = SafeConstructor()

    def read(self, node: yaml.Node, path: KeyPath) -> Any:
        self.values[path] = _place(self._file, node.start_mark)
        self._count += 1
        if self._count > MAX_VALUES or len(path) > MAX_DEPTH:
            if self._count != MAX_VALUES + 1 or len(path) > MAX_DEPTH:
                self.complain(node, path, f"at most {MAX_VALUES} values, {MAX_DEPTH} levels deep", "more")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._read_map(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self.complain(node, path, "a plain value", f"the tag {node.tag}")
            return None

    def _read_map(self, node: yaml.MappingNode, path: KeyPath) -> dict[Any, Any]:
        data: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or key_node.tag not in {"tag:yaml.org,2002:str", "tag:yaml.org,2002:int"}:
                self.complain(key_node, path, "a text as key (put it in quotes)", _describe(key_node))
                continue
            inner = (*path, key)
            if key in data:
                first = self.keys[inner]
                self.complain(key_node, inner, "each key once", f"the key again, after line {first.line}")
                continue
            self.keys[inner] = _place(self._file, key_node.start_mark)
            data[key] = self.read(value_node, inner)
        return data

    def complain(self, node: yaml.Node, path: KeyPath, expected: str, found: str) -> None:
        self.problems.append(
            Problem(
                name=dotted(path),
                place=_place(self._file, node.start_mark),
                found=found,
                expected=expected,
                message=f"expected {expected}, found {found}",
            )
        )


def _place(file: Path | None, mark: Any) -> Place:
    return Place(file=file, line=mark.line + 1, column=mark.column + 1)


def _refusal(place: Place, name: str, found: str, expected: str, message: str) -> ConfigError:
    return ConfigError((Problem(name=name, place=place, found=found, expected=expected, message=message),))


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a map"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"

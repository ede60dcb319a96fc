"""Reading a YAML file as plain data, with the place of every key and value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import yaml
from yaml.reader import ReaderError

from executor.catalog.findings import Code
from executor.catalog.nodes import Mistake, Node, NodeError, compose
from executor.catalog.scalars import Kind
from executor.config.places import ConfigError, KeyPath, Place, Problem, Source

__all__ = ["parse_document", "read_document"]

MAX_FILE_BYTES: Final = 1024**2


def read_document(file: Path) -> Source:
    """Read a configuration file.

    Raises:
        ConfigError: It cannot be read, or is not YAML with a map at the top.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = "a folder" if isinstance(error, IsADirectoryError) else (error.strerror or str(error)).lower()
        raise _refusal(Place(file=file), found=reason, expected="a readable file") from error
    if len(content) > MAX_FILE_BYTES:
        raise _refusal(Place(file=file), found="a larger file", expected=f"at most {MAX_FILE_BYTES} bytes")
    return parse_document(content, file)


def parse_document(content: bytes, file: Path | None = None) -> Source:
    """Read a configuration that is in memory already.

    Args:
        content: YAML in UTF-8; empty stands for an empty map.
        file: Where it came from, for messages and relative paths.

    Returns:
        The document; smaller mistakes, such as repeated keys, are among its problems.

    Raises:
        ConfigError: It is not YAML with a map at the top.
    """
    mistakes: list[Mistake] = []
    top: Node | None
    try:
        events = yaml.parse(content.decode("utf-8-sig"), Loader=yaml.SafeLoader)
        top = compose(_keep_off(events), mistakes)
    except UnicodeDecodeError as error:
        place = Place(file=file, line=content.count(b"\n", 0, error.start) + 1)
        raise _refusal(place, found=f"the byte 0x{content[error.start]:02x}", expected="text in UTF-8") from None
    except NodeError as error:
        raise ConfigError(tuple(_from_mistake(mistake, file) for mistake in (*mistakes, error.mistake))) from None
    except yaml.YAMLError as error:
        raise _syntax_refusal(error, file) from error
    if top is None or top.kind is Kind.NULL:
        return Source(file)
    if top.kind is not Kind.MAP:
        raise _refusal(_place(file, top.position), found=top.kind.value, expected="a map of settings")
    return _flatten(top, file, tuple(_from_mistake(mistake, file) for mistake in mistakes))


def _keep_off(events: Iterable[yaml.Event]) -> Iterator[yaml.Event]:
    """Take a plain `off` as a key for the text that it is, as in YAML 1.2; YAML 1.1 takes it for false.

    `isolation.off` can then be written without quotes. Values are left as they are.
    """
    children: list[int | None] = []  # of every open map; None for a list
    for event in events:
        if isinstance(event, yaml.CollectionEndEvent):
            children.pop()
        elif isinstance(event, yaml.NodeEvent):
            if children and (number := children[-1]) is not None:
                children[-1] = number + 1
                if number % 2 == 0 and isinstance(event, yaml.ScalarEvent) and event.value == "off":
                    event.implicit = (False, True)  # as if it stood in quotes
            if isinstance(event, yaml.CollectionStartEvent):
                children.append(0 if isinstance(event, yaml.MappingStartEvent) else None)
        yield event


def _flatten(top: Node, file: Path | None, problems: tuple[Problem, ...]) -> Source:
    """List the places of all keys and values by their paths; bounded, because the document is."""
    keys: dict[KeyPath, Place] = {}
    values: dict[KeyPath, Place] = {}
    pending: list[tuple[KeyPath, Node]] = [((), top)]
    while pending:
        path, node = pending.pop()
        values[path] = _place(file, node.position)
        pending += [((*path, index), item) for index, item in enumerate(node.items)]
        for name, entry in node.entries.items():
            keys[*path, name] = _place(file, entry.key.position)
            pending.append(((*path, name), entry.value))
    data = {name: entry.value.plain() for name, entry in top.entries.items()}
    return Source(file, data, keys, values, problems)


def _place(file: Path | None, position: tuple[int, int]) -> Place:
    return Place(file=file, line=position[0], column=position[1])


def _from_mistake(mistake: Mistake, file: Path | None) -> Problem:
    """Retell a mistake, without the text of a number, which may be a secret without its quotes."""
    found = "something else, or more than 64 digits" if mistake.code is Code.YAML_NUMBER else mistake.found
    return _problem(_place(file, mistake.position), found=found, expected=mistake.expected, hint=mistake.hint)


def _syntax_refusal(error: yaml.YAMLError, file: Path | None) -> ConfigError:
    place, found = Place(file=file), "something else"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        place = place if mark is None else _place(file, (mark.line + 1, mark.column + 1))
        found = ", ".join(part for part in (error.context, error.problem) if part) or found
    elif isinstance(error, ReaderError):
        found = f"a character that YAML forbids at offset {error.position}"
    return _refusal(place, found=found, expected="YAML")


def _refusal(place: Place, *, found: str, expected: str) -> ConfigError:
    return ConfigError((_problem(place, found=found, expected=expected),))


def _problem(place: Place, *, found: str, expected: str, hint: str = "") -> Problem:
    message = f"expected {expected}, found {found}" + (f" ({hint})" if hint else "")
    return Problem(name="", place=place, found=found, expected=expected, message=message)

"""Reading a YAML file of a plugin into a tree of located values, or into findings."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml
from yaml.reader import Reader, ReaderError

from executor.catalog.cursor import Cursor
from executor.catalog.files import FileError, PluginFiles
from executor.catalog.findings import Code, Findings
from executor.catalog.nodes import Mistake, NodeError, Position, compose

__all__ = ["read_yaml"]

LOADER: Final[type[yaml.CSafeLoader | yaml.SafeLoader]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML was built with it; ten times as fast."""

MAX_DIRECTIVES: Final = 100
"""Lines that begin with `%`; libyaml compares each `%TAG` with all before it."""


def read_yaml(files: PluginFiles, path: str, findings: Findings) -> Cursor | None:
    """Read a YAML file.

    Args:
        files: The plugin.
        path: Relative to the plugin's folder.
        findings: Where everything that is wrong is added.

    Returns:
        A cursor at the top of the document; `None` when it cannot be read.
    """
    file = Path(path)
    mistakes: list[Mistake] = []
    top = None
    try:
        text = _decode(files.read(path))
        top = compose(yaml.parse(text, Loader=LOADER), mistakes)
        if top is None:
            raise NodeError(Mistake(Code.YAML_EMPTY, (1, 1), "nothing", "a document"))
    except NodeError as error:
        top = None
        mistakes.append(error.mistake)
    except yaml.YAMLError as error:
        top = None
        mistakes.append(_syntax_mistake(error))
    except FileError as error:
        findings.add(error.code, file, None, what="", found=error.found, expected=error.expected)
    for mistake in mistakes:
        findings.add(
            mistake.code,
            file,
            mistake.position,
            what="",
            found=mistake.found,
            expected=mistake.expected,
            hint=mistake.hint,
        )
    return None if top is None else Cursor.at_top(findings, file, top)


def _decode(content: bytes) -> str:
    """Decode a file; what YAML forbids is found here, because the parsers disagree on how to report it.

    Raises:
        NodeError: It is not text that YAML allows, or libyaml would take long to parse it.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        position = _locate(content[: error.start].decode("utf-8-sig"))
        found = f"the byte 0x{content[error.start]:02x}"
        raise NodeError(Mistake(Code.FILE_ENCODING, position, found, "text in UTF-8")) from None
    forbidden = Reader.NON_PRINTABLE.search(text)
    if forbidden is not None:
        position = _locate(text[: forbidden.start()])
        found = f"the character U+{ord(forbidden.group()):04X}"
        raise NodeError(Mistake(Code.FILE_ENCODING, position, found, "characters that YAML allows"))
    directives = text.count("\n%")
    if directives > MAX_DIRECTIVES:
        expected = f"at most {MAX_DIRECTIVES} directives"
        raise NodeError(Mistake(Code.YAML_TOO_LARGE, (1, 1), f"{directives} directives", expected))
    return text


def _locate(before: str) -> Position:
    return (before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def _syntax_mistake(error: yaml.YAMLError) -> Mistake:
    position = (1, 1)
    reason = ""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        position = (mark.line + 1, mark.column + 1) if mark else position
        reason = ", ".join(part for part in (error.problem, error.context) if part)
    elif isinstance(error, ReaderError):
        reason = str(error.reason)
    return Mistake(Code.YAML_SYNTAX, position, f"an error ({reason})" if reason else "an error", "valid YAML")

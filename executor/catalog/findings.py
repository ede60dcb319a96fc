"""What is wrong with a plugin: one closed list of codes, and the findings that carry them.

An *error* means that the plugin cannot be served as it is declared. A *warning* means that it is served here, but that
Dify refuses it or treats it differently, or that it is most likely not what its author meant.

Everything in a finding that comes from the plugin is shortened and has its control characters escaped, so that it may
be printed to a terminal. `docs/declarations.md` lists the codes with an example each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Literal

__all__ = ["Code", "Finding", "Findings", "Severity", "has_errors", "printable", "shorten", "show"]

Severity = Literal["error", "warning"]

MAX_FINDINGS: Final = 200
"""Findings kept for one plugin; a file made to annoy can be wrong in tens of thousands of places."""

MAX_SHOWN: Final = 60
"""Characters of a value that are shown."""


class Code(Enum):
    """The stable code of a finding.

    Attributes:
        code: Dotted name, never renamed.
        severity: Whether the plugin can be served nevertheless.
        meaning: What is wrong, for the documentation.
    """

    PLUGIN_FOLDER = ("plugin.folder", "error", "The plugin is not a folder that can be read.")
    PLUGIN_TOO_LARGE = ("plugin.too_large", "error", "The plugin declares more than is supported.")
    PLUGIN_TOO_MANY_FINDINGS = ("plugin.too_many_findings", "error", "There is more; only the first are listed.")

    FILE_PATH = ("file.path", "error", "A path is empty, absolute or otherwise not usable.")
    FILE_OUTSIDE = ("file.outside", "error", "A path, or a symbolic link on its way, leads out of the plugin.")
    FILE_MISSING = ("file.missing", "error", "A file does not exist.")
    FILE_KIND = ("file.kind", "error", "A path leads to something other than a regular file.")
    FILE_UNREADABLE = ("file.unreadable", "error", "A file cannot be read.")
    FILE_TOO_LARGE = ("file.too_large", "error", "A file is larger than is read.")
    FILE_ENCODING = ("file.encoding", "error", "A YAML file is not UTF-8, or has characters that YAML forbids.")

    YAML_SYNTAX = ("yaml.syntax", "error", "A file is not YAML.")
    YAML_EMPTY = ("yaml.empty", "error", "A YAML file has no document in it.")
    YAML_DOCUMENTS = ("yaml.documents", "error", "A YAML file has more than one document.")
    YAML_DUPLICATE_KEY = ("yaml.duplicate_key", "error", "A key stands twice in one map.")
    YAML_KEY = ("yaml.key", "error", "A key is not a text.")
    YAML_TAG = ("yaml.tag", "error", "A YAML tag is not plain data.")
    YAML_NUMBER = ("yaml.number", "error", "A number cannot be read.")
    YAML_ALIAS = ("yaml.alias", "error", "An alias has no anchor before it, or contains itself.")
    YAML_TOO_LARGE = ("yaml.too_large", "error", "A document is nested too deeply or unfolds to too many values.")

    FIELD_MISSING = ("field.missing", "error", "A key that is required is missing or empty.")
    FIELD_TYPE = ("field.type", "error", "A value has the wrong type.")
    FIELD_TEXT = ("field.text", "warning", "A text for people has no `en_US`, or is not a map of languages.")

    MANIFEST_TYPE = ("manifest.type", "error", "The manifest's `type` is not `plugin`.")
    MANIFEST_VERSION = ("manifest.version", "error", "The plugin's version is not a version number.")
    MANIFEST_VERSION_FORM = ("manifest.version_form", "warning", "Dify's daemon refuses this form of version.")
    MANIFEST_AUTHOR = ("manifest.author", "error", "The author has characters that are not allowed.")
    MANIFEST_AUTHOR_CASE = ("manifest.author_case", "warning", "Dify's daemon refuses capitals in the author.")
    MANIFEST_NAME = ("manifest.name", "error", "The plugin's name has characters that are not allowed.")
    MANIFEST_CREATED_AT = ("manifest.created_at", "warning", "`created_at` is not a date and time of RFC 3339.")
    MANIFEST_ICON = ("manifest.icon", "warning", "The icon is not in the folder `_assets`.")
    MANIFEST_LANGUAGE = ("manifest.language", "error", "The plugin is not written in Python.")
    MANIFEST_MEMORY = ("manifest.memory", "warning", "The memory hint is not a number of bytes above zero.")
    MANIFEST_PERMISSION = ("manifest.permission", "warning", "A permission is not declared as Dify's daemon reads it.")
    MANIFEST_MIXED = ("manifest.mixed", "warning", "Dify refuses endpoints together with this kind of provider.")
    MANIFEST_GROUPS = ("manifest.groups", "warning", "Dify's daemon keeps only the last of several groups.")
    MANIFEST_NO_ENDPOINTS = ("manifest.no_endpoints", "error", "The plugin declares no endpoints.")

    GROUP_SETTINGS_FORM = ("group.settings_form", "warning", "Dify refuses this form of `settings`.")
    GROUP_ENDPOINTS_FORM = ("group.endpoints_form", "warning", "Dify's SDK refuses empty `endpoints`.")

    SETTING_NAME = ("setting.name", "error", "A setting's name is empty or too long.")
    SETTING_DUPLICATE = ("setting.duplicate", "error", "Two settings of a group have the same name.")
    SETTING_CONFLICT = ("setting.conflict", "error", "Two groups declare a setting differently.")
    SETTING_TYPE = ("setting.type", "error", "A setting's type is unknown.")
    SETTING_OPTIONS = ("setting.options", "error", "A `select` has no options, or one of them twice.")
    SETTING_OPTIONS_UNUSED = ("setting.options_unused", "warning", "Only a `select` has options.")
    SETTING_DEFAULT = ("setting.default", "error", "A default is not a value that the setting may have.")
    SETTING_SCOPE = ("setting.scope", "warning", "A scope is unknown, or the type has none.")
    SETTING_TOO_MANY = ("setting.too_many", "error", "There are more than 64 settings.")

    ENDPOINT_PATH_SLASH = ("endpoint.path.slash", "error", "A path does not start with a slash.")
    ENDPOINT_PATH_RULE = ("endpoint.path.rule", "error", "A path is not a rule that werkzeug understands.")
    ENDPOINT_PATH_CONVERTER = ("endpoint.path.converter", "error", "A path uses an unknown converter.")
    ENDPOINT_PATH_VARIABLE = ("endpoint.path.variable", "error", "A path uses a variable twice.")
    ENDPOINT_PATH_COSTLY = ("endpoint.path.costly", "error", "A path is too long or too ambiguous to be matched fast.")
    ENDPOINT_METHOD = ("endpoint.method", "error", "A method is unknown.")
    ENDPOINT_METHOD_FORM = ("endpoint.method_form", "warning", "Dify refuses, or never routes, this method.")
    ENDPOINT_DUPLICATE = ("endpoint.duplicate", "error", "Two endpoints have the same method and route.")

    SOURCE_SUFFIX = ("source.suffix", "error", "A source is not a `.py` file.")
    SOURCE_SYNTAX = ("source.syntax", "error", "A source is not Python.")
    SOURCE_NO_CLASS = ("source.no_class", "error", "A source has no subclass of Endpoint.")
    SOURCE_SEVERAL_CLASSES = ("source.several_classes", "error", "A source has several subclasses of Endpoint.")
    SOURCE_NO_INVOKE = ("source.no_invoke", "error", "The endpoint's class does not define `_invoke`.")
    SOURCE_ASYNC_INVOKE = ("source.async_invoke", "error", "The endpoint's `_invoke` is a coroutine or generator.")

    SOURCE_UNCHECKED = ("source.unchecked", "warning", "A source is too large or too complex to be checked.")

    def __init__(self, code: str, severity: Severity, meaning: str) -> None:
        self.code = code
        self.severity: Severity = severity
        self.meaning = meaning


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with a plugin.

    Attributes:
        severity: `error` or `warning`.
        code: Stable dotted code, one of `Code`.
        file: The file, relative to the plugin's folder; `.` for the folder itself.
        line: Line, from 1; `None` for the file as a whole.
        column: Column in characters, from 1; `None` for the file as a whole.
        found: What was found, shortened.
        expected: What would have been right.
        message: The whole in one sentence.
    """

    severity: Severity
    code: str
    file: Path
    line: int | None
    column: int | None
    found: str
    expected: str
    message: str

    def __str__(self) -> str:
        """Write it as compilers do: `file:line:column: severity: message [code]`."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{printable(place)}: {self.severity}: {self.message} [{self.code}]"


class Findings:
    """Collects the findings of one plugin, at most `MAX_FINDINGS` of them."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._more = 0

    def add(
        self,
        code: Code,
        file: Path,
        position: tuple[int, int] | None,
        *,
        what: str,
        found: str,
        expected: str,
        hint: str = "",
    ) -> None:
        """Add a finding.

        Args:
            code: What kind of mistake.
            file: Relative to the plugin's folder.
            position: Line and column, from 1; `None` for the file as a whole.
            what: What the finding is about, such as `settings[2].name`; may be empty.
            found: What was found.
            expected: What would have been right.
            hint: How to mend it, where that is not obvious.
        """
        if len(self._found) >= MAX_FINDINGS:
            self._more += 1
            return
        line, column = position or (None, None)
        message = f"expected {expected}, found {found}"
        message = f"{what}: {message}" if what else message
        message = printable(f"{message} ({hint})" if hint else message)
        self._found.append(
            Finding(
                severity=code.severity,
                code=code.code,
                file=file,
                line=line,
                column=column,
                found=printable(found),
                expected=printable(expected),
                message=message,
            )
        )

    def close(self) -> tuple[Finding, ...]:
        """Return what was found, by file and place; warnings and errors mixed."""
        found = sorted(self._found, key=lambda finding: (str(finding.file), finding.line or 0, finding.column or 0))
        if not self._more:
            return tuple(found)
        code = Code.PLUGIN_TOO_MANY_FINDINGS
        rest = Finding(
            severity=code.severity,
            code=code.code,
            file=Path(),
            line=None,
            column=None,
            found=f"{self._more} more findings",
            expected=f"at most {MAX_FINDINGS}",
            message=f"{self._more} more findings are not listed",
        )
        return (*found, rest)


def has_errors(findings: Iterable[Finding]) -> bool:
    """Tell whether any of the findings is an error."""
    return any(finding.severity == "error" for finding in findings)


def printable(text: str) -> str:
    """Escape everything that a terminal might take for a command, and what UTF-8 cannot carry."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def shorten(text: str, limit: int = MAX_SHOWN) -> str:
    """Cut a text to `limit` characters, the last of them an ellipsis where something was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def show(text: str) -> str:
    """Quote a text from a plugin, shortened and escaped."""
    return f'"{printable(shorten(text))}"'

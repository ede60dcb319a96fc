"""Builds plugin folders: a good one, and variations of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from executor.catalog.findings import Finding
from executor.catalog.plugin import Loaded, load_plugin

__all__ = ["GOOD", "Edit", "edited", "load", "places", "write_plugin"]

MANIFEST = """\
version: 0.0.1
type: plugin
author: tester
name: cat
label:
  en_US: Cat
description:
  en_US: A cat
icon: icon.svg
created_at: 2025-01-31T12:00:00Z
resource:
  memory: 268435456
plugins:
  endpoints:
    - group/cat.yaml
meta:
  runner:
    language: python
    version: "3.12"
    entrypoint: main
"""

GROUP = """\
settings:
  - name: token
    type: secret-input
    required: true
    label:
      en_US: Token
  - name: colour
    type: select
    default: red
    options:
      - value: red
        label:
          en_US: Red
      - value: blue
        label:
          en_US: Blue
    label:
      en_US: Colour
endpoints:
  - endpoints/cat.yaml
"""

ENDPOINT = """\
path: /cat/<name>
method: GET
extra:
  python:
    source: endpoints/cat.py
"""

SOURCE = """\
from dify_plugin import Endpoint
from werkzeug import Request, Response


class Cat(Endpoint):
    def _invoke(self, r: Request, values, settings) -> Response:
        return Response("purr")
"""

GOOD: Mapping[str, str | bytes] = {
    "manifest.yaml": MANIFEST,
    "group/cat.yaml": GROUP,
    "endpoints/cat.yaml": ENDPOINT,
    "endpoints/cat.py": SOURCE,
    "_assets/icon.svg": "<svg/>",
}
"""The files of a plugin without any mistake."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A change to a file of the good plugin: the first `old` becomes `new`."""

    file: str
    old: str
    new: str


def edited(*edits: Edit) -> dict[str, str | bytes]:
    """Return the files of the good plugin with some changes."""
    files = dict(GOOD)
    for edit in edits:
        content = files[edit.file]
        assert isinstance(content, str)
        assert edit.old in content, f"{edit.old!r} is not in {edit.file}"
        files[edit.file] = content.replace(edit.old, edit.new, 1)
    return files


def write_plugin(root: Path, files: Mapping[str, str | bytes] = GOOD) -> Path:
    """Write files into a folder and return it."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def load(root: Path, files: Mapping[str, str | bytes] = GOOD) -> Loaded:
    """Write a plugin and load it."""
    return load_plugin(write_plugin(root, files))


def places(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    """Return the code and the place of each finding."""
    return [
        (found.code, ":".join(str(part) for part in (found.file, found.line, found.column) if part is not None))
        for found in findings
    ]

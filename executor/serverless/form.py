"""The form that a daemon launches a plugin with: a package, and what the daemon says about it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Final

from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from executor.serverless.errors import BadCallError

__all__ = ["LaunchForm", "read_form"]

PACKAGE: Final = "context"
MAX_PARTS: Final = 16
MAX_FIELD: Final = 65_536
MAX_BOUNDARY: Final = 70
"""RFC 2046 section 5.1.1."""


@dataclass(frozen=True, slots=True)
class LaunchForm:
    """What a daemon sends to launch a plugin.

    Attributes:
        filename: `author@name@version@checksum.difypkg`, by which it will ask for the function.
        package: The package.
        identifier: `author/name:version@checksum`; empty where the daemon does not say.
        digest: SHA-256 of the package.
    """

    filename: str
    package: bytes = field(repr=False)
    identifier: str
    digest: bytes


def read_form(content_type: str, body: bytearray) -> LaunchForm:
    """Read a form.

    Raises:
        BadCallError: It is none, or has no package.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not 0 < len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
        raise BadCallError("Content-Type: expected multipart/form-data with a boundary")
    try:
        files, fields = _decode(boundary.encode(), body)
    except (ValueError, HTTPException) as error:
        raise BadCallError(f"the form is broken: {error}") from error
    if PACKAGE not in files:
        raise BadCallError(f"expected a file {PACKAGE}, the package")
    filename, package = files[PACKAGE]
    identifier = _read_identifier(fields.get("metadata", ""))
    return LaunchForm(filename, package, identifier, hashlib.sha256(package).digest())


def _decode(boundary: bytes, body: bytearray) -> tuple[dict[str, tuple[str, bytes]], dict[str, str]]:
    """Take a form apart: files with their names, and fields.

    Raises:
        ValueError: It is not complete, or has a part twice.
        HTTPException: It is too large, or broken.
    """
    decoder = MultipartDecoder(boundary, max_parts=MAX_PARTS)
    decoder.receive_data(bytes(body))
    decoder.receive_data(None)
    files: dict[str, tuple[str, bytes]] = {}
    fields: dict[str, str] = {}
    part: File | Field | None = None
    content = bytearray()
    while not isinstance(event := decoder.next_event(), Epilogue):
        if isinstance(event, NeedData):
            raise BadCallError("the form is not complete")
        if isinstance(event, File | Field):
            part, content = event, bytearray()
        elif isinstance(event, Data) and part is not None:
            content += event.data
            if isinstance(part, Field) and len(content) > MAX_FIELD:
                raise ValueError(f"a field of more than {MAX_FIELD} bytes")
            if not event.more_data:
                if part.name in files or part.name in fields:
                    raise ValueError("it has two parts of one name")
                if isinstance(part, File):
                    files[part.name] = part.filename, bytes(content)
                else:
                    fields[part.name] = content.decode()
    return files, fields


def _read_identifier(metadata: str) -> str:
    if not metadata:
        return ""
    try:
        document = json.loads(metadata)
    except (ValueError, RecursionError) as error:
        raise BadCallError("metadata: expected a JSON object") from error
    identifier = document.get("plugin_unique_identifier", "") if isinstance(document, dict) else None
    if not isinstance(identifier, str):
        raise BadCallError("metadata: expected a JSON object whose plugin_unique_identifier is a text")
    return identifier

"""Pages of a package index: what an index says about the files of one package, read and written.

Read are both forms that indexes have, HTML and JSON; written is JSON, with addresses of ours. Nothing in a page is
believed but that these are the files of the package: their names must be plain file names, and what is written is
made anew from the few keys that installers need.

Source: "Simple repository API" of the Python packaging specifications, versions 1.0 to 1.4.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

__all__ = [
    "ACCEPT",
    "JSON_TYPE",
    "PackageFile",
    "PageError",
    "is_file_name",
    "is_project_name",
    "read_page",
    "write_page",
]

JSON_TYPE: Final = "application/vnd.pypi.simple.v1+json"
ACCEPT: Final = f"{JSON_TYPE}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"

MAX_FILES: Final = 100_000
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!-]{0,254}", re.ASCII)
_PROJECT_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,126}[a-z0-9])?", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{32,128}", re.ASCII)
_FRAGMENT: Final = re.compile(r"(sha256|sha384|sha512|md5)=([0-9a-f]{32,128})", re.ASCII)
_MAX_TEXT: Final = 1024


class PageError(ValueError):
    """What an index has answered is no page of a package."""


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file of a package, as an index tells.

    Attributes:
        name: Of the file.
        url: Where it is: an absolute address without fragment.
        hashes: By algorithm, in hexadecimal.
        requires_python: For which versions of Python; empty for all.
        has_metadata: Whether its metadata can be had beside it, at `url` with `.metadata` added.
        metadata_hashes: Of these.
        yanked: Whether it should not be chosen; a text tells why.
        size: In bytes, or None.
        upload_time: As the index says; empty if it does not.
    """

    name: str
    url: str
    hashes: Mapping[str, str] = field(default_factory=dict)
    requires_python: str = ""
    has_metadata: bool = False
    metadata_hashes: Mapping[str, str] = field(default_factory=dict)
    yanked: bool | str = False
    size: int | None = None
    upload_time: str = ""


def is_file_name(text: str) -> bool:
    """Tell whether a text may be the name of a package's file."""
    return _FILE_NAME.fullmatch(text) is not None and not text.startswith(".")


def is_project_name(text: str) -> bool:
    """Tell whether a text is the normalised name of a package."""
    return _PROJECT_NAME.fullmatch(text) is not None


def read_page(content: bytes, content_type: str, base: str) -> tuple[PackageFile, ...]:
    """Read a page.

    Args:
        content: As the index has sent it.
        content_type: As the index has called it.
        base: Its address, which relative ones start from.

    Returns:
        The files with names and addresses that can be used; others are left out. Only a page that is a file of this
        host can name files of this host.

    Raises:
        PageError: It is no such page.
    """
    kind = content_type.partition(";")[0].strip().lower()
    files = _read_json(content, base) if kind.endswith("json") else _read_html(content, base)
    schemes = {"http", "https"} | ({"file"} if urlsplit(base).scheme == "file" else set())
    found: dict[str, PackageFile] = {}
    for file in files:
        if is_file_name(file.name) and urlsplit(file.url).scheme in schemes:
            found.setdefault(file.name, file)
        if len(found) > MAX_FILES:
            raise PageError(f"more than {MAX_FILES} files")
    return tuple(found.values())


def write_page(name: str, files: Iterable[PackageFile], *, absolute: bool = False) -> bytes:
    """Write the page of a package.

    Args:
        name: Of the package, normalised.
        files: What there is.
        absolute: Whether to give the addresses of files as they are, and not beside the page.
    """
    entries = [_write_file(file, file.url if absolute else file.name) for file in files]
    return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": entries}, separators=(",", ":")).encode()


def _write_file(file: PackageFile, url: str) -> dict[str, object]:
    entry: dict[str, object] = {"filename": file.name, "url": url, "hashes": dict(file.hashes)}
    if file.requires_python:
        entry["requires-python"] = file.requires_python
    if file.has_metadata:
        entry["core-metadata"] = dict(file.metadata_hashes) or True
    if file.yanked:
        entry["yanked"] = file.yanked
    if file.size is not None:
        entry["size"] = file.size
    if file.upload_time:
        entry["upload-time"] = file.upload_time
    return entry


def _read_json(content: bytes, base: str) -> list[PackageFile]:
    try:
        page = json.loads(content)
        entries = page["files"]
        return [_read_entry(entry, base) for entry in entries if isinstance(entry, dict) and "filename" in entry]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PageError(f"not a page of a package: {type(error).__name__}") from error


def _read_entry(entry: Mapping[str, Any], base: str) -> PackageFile:
    metadata = entry.get("core-metadata", entry.get("dist-info-metadata", False))
    yanked = entry.get("yanked", False)
    size = entry.get("size")
    return PackageFile(
        name=_text(entry["filename"]),
        url=_join(base, _text(entry.get("url"))),
        hashes=_hashes(entry.get("hashes")),
        requires_python=_text(entry.get("requires-python")),
        has_metadata=bool(metadata),
        metadata_hashes=_hashes(metadata),
        yanked=yanked if isinstance(yanked, bool) else _text(yanked) or True,
        size=size if type(size) is int and size >= 0 else None,
        upload_time=_text(entry.get("upload-time")),
    )


def _text(value: object) -> str:
    return value[:_MAX_TEXT] if isinstance(value, str) and value.isprintable() else ""


def _hashes(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {
        name: digest
        for name, digest in value.items()
        if name in {"sha256", "sha384", "sha512", "md5"} and isinstance(digest, str) and _HASH.fullmatch(digest)
    }


def _join(base: str, url: str) -> str:
    try:
        return urljoin(base, url).partition("#")[0]
    except ValueError:
        return ""


def _read_html(content: bytes, base: str) -> list[PackageFile]:
    parser = _Anchors(base)
    parser.feed(content.decode("utf-8", "replace"))
    parser.close()
    return parser.files


class _Anchors(HTMLParser):
    """Takes the links of a page."""

    def __init__(self, base: str) -> None:
        super().__init__(convert_charrefs=True)
        self._base = base
        self.files: list[PackageFile] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "base" and "href" in given:
            self._base = _join(self._base, given["href"]) or self._base
        if tag != "a" or not given.get("href"):
            return
        href, _, fragment = given["href"].partition("#")
        found = _FRAGMENT.search(fragment)
        metadata = given.get("data-core-metadata", given.get("data-dist-info-metadata"))
        metadata_hash = _FRAGMENT.fullmatch(metadata or "")
        url = _join(self._base, href)
        self.files.append(
            PackageFile(
                name=unquote(urlsplit(url).path.rpartition("/")[2]) if url else "",
                url=url,
                hashes={found[1]: found[2]} if found else {},
                requires_python=_text(given.get("data-requires-python")),
                has_metadata=metadata is not None and metadata != "false",
                metadata_hashes={metadata_hash[1]: metadata_hash[2]} if metadata_hash else {},
                yanked=_text(given["data-yanked"]) or True if "data-yanked" in given else False,
            )
        )

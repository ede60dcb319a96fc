"""Pages of a package index: both forms are read, and what is written says the same."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.environments.simple_page import (
    JSON_TYPE,
    PackageFile,
    PageError,
    is_file_name,
    is_project_name,
    read_page,
    write_page,
)

BASE = "https://index.example/simple/duck/"
DIGEST = "ab" * 32
HTML = f"""<!DOCTYPE html><html><body>
<a href="../../files/duck-1.0-py3-none-any.whl#sha256={DIGEST}" data-requires-python="&gt;=3.8"
   data-core-metadata="sha256={DIGEST}">duck-1.0-py3-none-any.whl</a>
<a href="https://files.example/duck-1.0.tar.gz" data-yanked="broken">duck-1.0.tar.gz</a>
<a href="javascript:alert(1)">duck-9.whl</a> <a href="duck%2F..%2Fetc.whl">x</a> <a>nothing</a>
</body></html>"""
WHEEL = PackageFile(
    name="duck-1.0-py3-none-any.whl",
    url="https://index.example/files/duck-1.0-py3-none-any.whl",
    hashes={"sha256": DIGEST},
    requires_python=">=3.8",
    has_metadata=True,
    metadata_hashes={"sha256": DIGEST},
)


def test_html() -> None:
    """Links with their attributes; what has no usable name or address is left out."""
    sdist = PackageFile("duck-1.0.tar.gz", "https://files.example/duck-1.0.tar.gz", yanked="broken")
    assert read_page(HTML.encode(), "text/html; charset=utf-8", BASE) == (WHEEL, sdist)


def test_json() -> None:
    """What is unknown or of the wrong type does not count."""
    entry = {
        "filename": WHEEL.name,
        "url": "../../files/" + WHEEL.name,
        "hashes": {"sha256": DIGEST, "md4": "00", "sha512": 5},
        "requires-python": ">=3.8",
        "core-metadata": {"sha256": DIGEST},
        "size": "large",
        "gpg-sig": True,
    }
    page = {"files": [entry, {"filename": "../../etc/passwd", "url": "x"}, "no entry"], "name": "duck"}
    assert read_page(json.dumps(page).encode(), JSON_TYPE, BASE) == (WHEEL,)


def test_files_of_this_host() -> None:
    """A server's page cannot have the executor read them; a page that is a file itself can."""
    entry = {"filename": "duck-1.0.tar.gz", "url": "file:///etc/shadow"}
    page = json.dumps({"files": [entry], "name": "duck"}).encode()
    link = b'<base href="file:///etc/"><a href="duck-1.0.tar.gz">duck</a> <a href="file:///duck-2.0.tar.gz">duck</a>'
    assert not read_page(page, JSON_TYPE, BASE)
    assert not read_page(link, "text/html", BASE)
    (found,) = read_page(page, JSON_TYPE, "file:///srv/index/duck/")
    assert found.url == "file:///etc/shadow"
    assert len(read_page(link, "text/html", "file:///srv/index/duck/")) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"files": 5}', b"[" * 100_000])
def test_what_is_no_page(content: bytes) -> None:
    """It is refused."""
    with pytest.raises(PageError):
        read_page(content, JSON_TYPE, BASE)


@given(st.binary(max_size=400), st.sampled_from(["text/html", JSON_TYPE, ""]))
def test_any_content(content: bytes, kind: str) -> None:
    """It is read, or refused, and names are file names."""
    try:
        found = read_page(content, kind, BASE)
    except PageError:
        return
    assert all(is_file_name(file.name) for file in found)


names = st.from_regex(r"[a-z]{1,8}-[0-9](\.[0-9]){0,2}(-py3-none-any\.whl|\.tar\.gz)", fullmatch=True)
hashes = st.dictionaries(st.sampled_from(["sha256", "sha512"]), st.sampled_from([DIGEST, "0" * 128]))
files = st.builds(
    PackageFile,
    name=names,
    url=names.map("https://files.example/{}".format),
    hashes=hashes,
    requires_python=st.sampled_from(["", ">=3.11", "!=3.12.*"]),
    has_metadata=st.booleans(),
    yanked=st.booleans() | st.just("reason"),
    size=st.none() | st.integers(0, 1 << 40),
    upload_time=st.sampled_from(["", "2026-01-01T00:00:00Z"]),
)


@given(st.lists(files, unique_by=lambda file: file.name))
def test_what_is_written_can_be_read(given_files: list[PackageFile]) -> None:
    """With addresses as they are, or beside the page."""
    written = write_page("duck", given_files, absolute=True)
    assert list(read_page(written, JSON_TYPE, BASE)) == given_files
    beside = [replace(file, url=f"{BASE}{file.name}") for file in given_files]
    assert list(read_page(write_page("duck", given_files), JSON_TYPE, BASE)) == beside


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-r", "a b", "ä.whl", "a\n"])
def test_names_that_are_none(name: str) -> None:
    """Neither of a file nor of a package."""
    assert not is_file_name(name)
    assert not is_project_name(name)

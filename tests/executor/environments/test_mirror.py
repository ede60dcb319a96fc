"""The mirror and what is behind it: a real index over HTTP, with a password, and real requests as uv makes them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, Self

import httpx
import pytest

from executor.environments.downloads import DownloadCache
from executor.environments.indexes import IndexSettings
from executor.environments.mirror import Mirror
from executor.environments.simple_page import JSON_TYPE
from executor.environments.upstream import Upstream
from tests import plain_http

WHEEL = b"wheel" * 200_000
DIGEST = hashlib.sha256(WHEEL).hexdigest()
NAME = "duck-1.0-py3-none-any.whl"
PASSWORD = "hunter2"


class Handler(BaseHTTPRequestHandler):
    """An index that wants a password, with a package `duck`."""

    asked: ClassVar[list[str]] = []
    wheel: ClassVar[bytes] = WHEEL

    def do_GET(self) -> None:
        """Answer."""
        self.asked.append(self.path)
        expected = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != expected:
            self.answer(401, b"")
        elif self.path == "/simple/duck/":
            link = f'<a href="/files/{NAME}#sha256={DIGEST}" data-core-metadata="true">{NAME}</a>'
            self.answer(200, link.encode(), "text/html")
        elif self.path == f"/files/{NAME}":
            self.answer(200, self.wheel)
        elif self.path == f"/files/{NAME}.metadata":
            self.answer(200, b"Name: duck\n")
        else:
            self.answer(404 if self.path != "/simple/broken/" else 500, b"")

    def answer(self, status: int, body: bytes, kind: str = "application/octet-stream") -> None:
        """Send it."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def index() -> Iterator[str]:
    """The index, with its password in the address."""
    Handler.asked.clear()
    Handler.wheel = WHEEL
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://me:{PASSWORD}@127.0.0.1:{server.server_address[1]}/simple"
        server.shutdown()
        thread.join()


Opener = Callable[..., "Opened"]


class Opened:
    """A mirror that is open, and a client of it."""

    def __init__(self, settings: IndexSettings, cache: DownloadCache, *, offline: bool) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.files: list[tuple[str, int | None]] = []
        self.client = plain_http.client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        upstream = Upstream(settings, cache, offline=offline)
        self.mirror = Mirror(listener, upstream, lambda name, size: self.files.append((name, size)))

    def __enter__(self) -> Self:
        self.mirror.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.mirror.__exit__()


@pytest.fixture
def opened(index: str, tmp_path: Path) -> Opener:
    """Opens mirrors of the index."""

    def open_mirror(*, offline: bool = False, links: tuple[str, ...] = ()) -> Opened:
        cache = DownloadCache(tmp_path / "downloads", 1 << 30)
        return Opened(IndexSettings((index,), links), cache, offline=offline)

    return open_mirror


def test_pages_and_files(opened: Opener) -> None:
    """Written anew, with files beside the page, and nothing of the index in them."""
    with opened() as mirror:
        page = mirror.client.get("/i/0/duck/")
        assert page.headers["content-type"] == JSON_TYPE
        (file,) = page.json()["files"]
        assert file == {"filename": NAME, "url": NAME, "hashes": {"sha256": DIGEST}, "core-metadata": True}
        assert PASSWORD not in page.text
        assert mirror.client.get(f"/i/0/duck/{NAME}").content == WHEEL
        assert mirror.client.get(f"/i/0/duck/{NAME}.metadata").content == b"Name: duck\n"
        assert mirror.client.head("/i/0/duck/").content == b""
        assert mirror.files == [(NAME, len(WHEEL))]
        assert mirror.mirror.problems == []


def test_what_was_fetched_is_kept(opened: Opener) -> None:
    """A second mirror asks for nothing when it is offline."""
    with opened() as mirror:
        for path in ("", NAME, f"{NAME}.metadata"):
            mirror.client.get(f"/i/0/duck/{path}")
    Handler.asked.clear()
    with opened(offline=True) as mirror:
        assert mirror.client.get("/i/0/duck/").json()["files"][0]["filename"] == NAME
        assert mirror.client.get(f"/i/0/duck/{NAME}").content == WHEEL
        assert mirror.client.get(f"/i/0/duck/{NAME}.metadata").content == b"Name: duck\n"
        assert mirror.client.get("/i/0/goose/").status_code == 404
    assert Handler.asked == []


def test_another_file_than_the_page_says(opened: Opener) -> None:
    """The answer is cut, the file is not kept, and the report says why."""
    Handler.wheel = b"evil." * 200_000
    with opened() as mirror:
        with pytest.raises(httpx.RemoteProtocolError):
            mirror.client.get(f"/i/0/duck/{NAME}")
        assert "its digest differs" in mirror.mirror.problems[0]
        Handler.wheel = b"short"
        assert mirror.client.get(f"/i/0/duck/{NAME}").status_code == 502
        Handler.wheel = WHEEL
        assert mirror.client.get(f"/i/0/duck/{NAME}").content == WHEEL


def test_an_index_that_fails(opened: Opener) -> None:
    """502, with the address and without the password."""
    with opened() as mirror:
        answer = mirror.client.get("/i/0/broken/")
        assert answer.status_code == 502
        assert PASSWORD not in answer.text
        assert "/simple/broken/ answered 500" in mirror.mirror.problems[0]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/i/0/",
        "/i/1/duck/",
        "/i/-1/duck/",
        "/i/0/Duck/",
        "/i/0/du%2fck/",
        "/i/0/duck/other.whl",
        "/i/0/duck/%2e%2e%2fsecret",
        "/i/0/duck/x/y",
        "/i/0/%2e%2e/files/",
        "/l/0/x.whl",
        "/i/0/goose/",
    ],
)
def test_nothing_else_can_be_had(opened: Opener, path: str) -> None:
    """Neither other paths nor other hosts; the index is not asked for anything but packages."""
    with opened() as mirror:
        assert mirror.client.get("/l/0/").text.count("<a ") == 0
        answer = mirror.client.send(httpx.Request("GET", mirror.client.base_url.copy_with(raw_path=path.encode())))
        assert answer.status_code in {400, 404} or not answer.json()["files"]
    assert set(Handler.asked) <= {"/simple/duck/", "/simple/goose/"}


def test_methods_that_would_send_something(opened: Opener) -> None:
    """They are refused."""
    with opened() as mirror:
        assert mirror.client.post("/i/0/duck/", content=b"secret").status_code == 405
        assert mirror.client.request("CONNECT", "/i/0/duck/").status_code in {400, 405, 501}


def test_folders_of_packages(opened: Opener, tmp_path: Path) -> None:
    """A folder is listed as a page of links; what is not a package is left out."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / NAME).write_bytes(WHEEL)
    (tmp_path / "wheels" / "notes.txt").write_text("secret")
    with opened(links=(str(tmp_path / "wheels"),)) as mirror:
        page = mirror.client.get("/l/0/").text
        assert f'<a href="{NAME}">' in page
        assert "notes.txt" not in page
        assert mirror.client.get(f"/l/0/{NAME}").content == WHEEL
        assert mirror.client.get("/l/0/notes.txt").status_code == 404


def test_the_cache_is_trimmed(tmp_path: Path) -> None:
    """What was not used for the longest time goes first, until the rest is small enough."""
    cache = DownloadCache(tmp_path, 2500)
    for number in range(4):
        content = bytes([number]) * 1000
        digest = hashlib.sha256(content).hexdigest()
        with cache.receive({"sha256": digest}) as incoming:
            incoming.write(content)
            assert incoming.finish()
        path = tmp_path / "files" / digest
        os.utime(path, (number, number))
    cache.trim(10.0)
    assert sorted(path.stat().st_mtime for path in (tmp_path / "files").iterdir()) == [2.0, 3.0]


def test_half_a_file_is_not_kept(tmp_path: Path) -> None:
    """Whoever stops in the middle leaves nothing."""
    cache = DownloadCache(tmp_path, 1 << 20)
    with contextlib.suppress(asyncio.CancelledError), cache.receive({"sha256": DIGEST}) as incoming:
        incoming.write(WHEEL[:10])
        raise asyncio.CancelledError
    assert not list((tmp_path / "files").iterdir())


def test_what_a_build_can_have_held(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of all pages are counted together: another page over it is not served."""
    monkeypatch.setattr("executor.environments.mirror.MAX_FILES", 1)
    with opened(links=("file:///nonexistent",)) as mirror:
        assert mirror.client.get("/i/0/duck/").status_code == 200
    monkeypatch.setattr("executor.environments.mirror.MAX_FILES", 0)
    with opened() as mirror:
        answer = mirror.client.get("/i/0/duck/")
        assert answer.status_code == 502
        assert "more than 0 files" in answer.text


def test_pages_are_trimmed_too(tmp_path: Path) -> None:
    """A build cannot fill the disk with pages, which it only has to ask for."""
    cache = DownloadCache(tmp_path, 1000)
    for number in range(10):
        cache.keep_page(f"http://index.example/{number}/", bytes(400))
    cache.trim(0.0)
    assert sum(path.stat().st_size for path in (tmp_path / "pages").iterdir()) <= 1000

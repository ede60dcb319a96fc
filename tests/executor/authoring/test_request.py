"""Command lines become the requests that they mean, or are refused."""

from __future__ import annotations

import contextlib
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.authoring.request import Body, Request, RequestError, build_request, check_request, read_body
from executor.config.model import HttpLimits


def build(
    method: str = "GET", target: str = "/", *, headers: tuple[str, ...] = (), body: Body | None = None
) -> Request:
    """A request with these words."""
    return build_request(method, target, headers=headers, query=(), body=body)


def test_defaults_are_those_of_curl() -> None:
    """Host, agent and what is accepted; a body has a type and a length."""
    request = build("post", "/x", body=read_body("a=1"))
    headers = dict(request.headers)
    assert request.method == "POST"
    assert headers[b"host"] == b"localhost"
    assert headers[b"content-type"] == b"application/x-www-form-urlencoded"
    assert headers[b"content-length"] == b"3"
    assert b"content-type" not in dict(build().headers)
    assert dict(build(body=read_body("-")).headers)[b"transfer-encoding"] == b"chunked"


def test_headers_of_the_command_line() -> None:
    """They replace the defaults, may be repeated, empty, or take a default away."""
    request = build(headers=("Host: a.example:81", "X-A: 1", "x-a:2", "X-B;", "User-Agent:"))
    assert [pair for pair in request.headers if pair[0] == b"x-a"] == [(b"x-a", b"1"), (b"x-a", b"2")]
    headers = dict(request.headers)
    assert headers[b"host"] == b"a.example:81"
    assert headers[b"x-b"] == b""
    assert b"user-agent" not in headers


@pytest.mark.parametrize("header", ["", "no", "a b: c", ": c", "a: \x00", "a: b\nc: d", "é: a"])
def test_headers_that_are_none(header: str) -> None:
    """They are refused before anything is sent."""
    with pytest.raises(RequestError):
        build(headers=(header,))


def test_paths_and_queries() -> None:
    """What is not encoded is encoded; what is stays as it is."""
    request = build_request("GET", "/a b/é%2F?q=ü&%20#part", headers=(), query=("n=1 2", "flag"), body=None)
    assert request.target == "/a%20b/%C3%A9%2F?q=%C3%BC&%20&n=1+2&flag"
    assert request.path == "/a b/é/"
    scope = request.scope("/e/hook")
    assert scope["path"] == "/e/hook/a b/é/"
    assert scope["raw_path"] == b"/e/hook/a%20b/%C3%A9%2F"
    assert scope["query_string"] == b"q=%C3%BC&%20&n=1+2&flag"


@given(st.text(max_size=60), st.text(max_size=20), st.lists(st.text(max_size=20), max_size=3))
def test_any_words(path: str, method: str, pairs: list[str]) -> None:
    """They are refused, or become something that can be sent and means the same."""
    try:
        request = build_request(method, f"/{path}", headers=(), query=pairs, body=None)
    except RequestError:
        return
    assert request.target.isascii()
    assert request.target.isprintable()
    assert " " not in request.target
    assert request.path == unquote(request.target.partition("?")[0])
    if pairs and all(pairs):
        query = request.target.partition("?")[2]
        sent = parse_qsl(query, keep_blank_values=True)[-len(pairs) :]
        assert sent == [(pair.partition("=")[0], pair.partition("=")[2]) for pair in pairs]


def test_what_the_service_refuses() -> None:
    """Its limits of heads hold here, too."""
    limits = HttpLimits.model_validate({"url_size": 256, "header_count": 5, "header_size": 1024})
    check_request(build(), limits)
    for request, status in (
        (build(target="/" + "a" * 256), "414"),
        (build(headers=tuple(f"X-{number}: a" for number in range(6))), "431"),
        (build(headers=("X-A: " + "a" * 1024,)), "431"),
        (build("CONNECT"), "501"),
        (build(headers=("Transfer-Encoding: gzip",)), "501"),
        (build(headers=("Host: a", "Host: b")), "400"),
    ):
        with pytest.raises(RequestError, match=status):
            check_request(request, limits)


def test_bodies(tmp_path: Path) -> None:
    """A text, a file; and one that is not there."""
    (tmp_path / "a").write_bytes(b"\x00\xff")
    assert read_body("ä").open().read(9) == "ä".encode()
    body = read_body(f"@{tmp_path}/a")
    assert body.length == 2
    with contextlib.closing(body.open()) as opened:
        assert opened.read(9) == b"\x00\xff"
    with pytest.raises(RequestError, match="no such file"):
        read_body(f"@{tmp_path}/b")

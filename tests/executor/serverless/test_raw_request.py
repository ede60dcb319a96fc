"""The request that a daemon passes on as text: read as Go has written it, and refused when it is anything else."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.serverless.errors import BadCallError
from executor.serverless.raw_request import CHUNKS, RawRequest, RawRequestLimits, read_raw_request
from tests.stand_ins.daemon_client import go_request

LIMITS: Final = RawRequestLimits(url_size=200, header_size=2000, header_count=20)
HEAD: Final = b"POST /a HTTP/1.1\r\nHost: h\r\n"

TOKENS: Final = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789!#$%&'*+-.^_`|~", min_size=1, max_size=20)
VALUES: Final = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40)
TARGETS: Final = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=100)
FRAMING: Final = {"content-length", "transfer-encoding", "host"}


def read(data: bytes) -> RawRequest:
    """Read within the limits of the tests."""
    return read_raw_request(data, LIMITS)


def test_what_go_writes() -> None:
    """Path decoded, query as it is, headers in order and repeated, an empty chunked body empty."""
    found = read(go_request("POST", "/a%20b//c%2F?x=1&y=%20", None, ("X-Many", "one"), ("X-Many", "two")))
    assert (found.method, found.path, found.query) == ("POST", "/a b//c/", b"x=1&y=%20")
    assert [value for name, value in found.headers if name == b"x-many"] == [b"one", b"two"]
    assert (found.body, found.chunked) == (b"", True)
    assert found.header(b"x-many") == b"two"
    assert found.header(b"x-none") is None


def test_headers_may_be_latin_1() -> None:
    """As WSGI has it."""
    assert read(HEAD + b"X-Text: caf\xe9\r\n\r\n").header(b"x-text") == b"caf\xe9"


def test_a_chunked_body_is_put_together() -> None:
    """Whatever its pieces."""
    found = read(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n")
    assert found.body == b"abcde"
    assert found.header(b"trailer") is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "nothing"),
        (b"\r\n", "no request line"),
        (HEAD, "closed"),
        (HEAD + b"\r\nGET", "more behind it"),
        (HEAD + b"Content-Length: 2\r\n\r\na", "closed"),
        (HEAD + b"Content-Length: 2\r\n\r\nabc", "more behind it"),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "both Content-Length"),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "[Cc]onflicting"),
        (HEAD + b"Content-Length: +1\r\n\r\na", "bad Content-Length"),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n", "illegal chunk header"),
        (HEAD + b"Host: other\r\n\r\n", "Host"),
        (b"GET /a HTTP/1.1\r\n\r\n", "Host"),
        (b"GET /a HTTP/1.0\r\nHost: h\r\n\r\n", "HTTP/1.1, found 1.0"),
        (b"GET /a HTTP/2.0\r\nHost: h\r\n\r\n", "HTTP/1.1, found 2.0"),
        (b"GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n", "begins with a slash"),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "begins with a slash"),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", "illegal request line"),
        (HEAD + b"X A: b\r\n\r\n", "illegal header line"),
        (HEAD + b"X-A : b\r\n\r\n", "illegal header line"),
        (HEAD + b"X-A: a\0b\r\n\r\n", "illegal header line"),
        (b"G" * 65 + b" /a HTTP/1.1\r\nHost: h\r\n\r\n", "method of 65 bytes"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * (CHUNKS + 1) + b"0\r\n\r\n", "chunks"),
    ],
)
def test_what_is_refused(data: bytes, text: str) -> None:
    """Whatever two readers could read differently."""
    with pytest.raises(BadCallError, match=text) as caught:
        read(data)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 200 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (HEAD + b"X-A: " + b"a" * 2000 + b"\r\n\r\n", 431),
        (HEAD + b"X-A: a\r\n" * 20 + b"\r\n", 431),
    ],
)
def test_heads_over_a_limit(data: bytes, status: int) -> None:
    """Get the status that the public listener gives them."""
    with pytest.raises(BadCallError) as caught:
        read(data)
    assert caught.value.status == status


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_else(data: bytes) -> None:
    """Whatever comes, it is a request or a refusal."""
    for prefix in (b"", HEAD, HEAD + b"Transfer-Encoding: chunked\r\n\r\n"):
        try:
            found = read(prefix + data)
        except BadCallError:
            continue
        assert found.path.startswith("/")


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]),
    TARGETS,
    st.lists(st.tuples(TOKENS.filter(lambda name: name.lower() not in FRAMING), VALUES), max_size=10),
    st.binary(max_size=200),
)
def test_what_is_written_is_what_is_read(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> None:
    """Every header and byte, in order."""
    lines = [f"{method} /{target} HTTP/1.1", "Host: h", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    found = read_raw_request("\r\n".join([*lines, "", ""]).encode("latin-1") + body, LIMITS)
    assert (found.method, found.body) == (method, body)
    assert found.query == target.partition("?")[2].encode()
    expected = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    assert [pair for pair in found.headers if pair[0] not in {b"host", b"content-length"}] == expected


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20))
def test_chunks_do_not_matter(pieces: list[bytes]) -> None:
    """A body is the same in one piece and in many."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    found = read(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert found.body == b"".join(pieces)

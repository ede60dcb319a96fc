"""The werkzeug request that is made of an INVOKE."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from werkzeug.exceptions import BadRequestKeyError
from werkzeug.wrappers import Request

from tests.worker.driver import make_invoke
from worker.request import RequestHeaders, convert_values, make_request


class Source:
    """A body that comes in given pieces, each read noted."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.reads = 0

    def read_body(self, size: int) -> bytes:
        """Return the next piece, or as much of it as is wanted."""
        self.reads += 1
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]


def request(*pieces: bytes, **given: Any) -> Request:
    """Make a request with a body in these pieces."""
    return make_request(make_invoke(has_body=bool(pieces), **given), Source(*pieces))


def test_path_and_query() -> None:
    """Path and root path are decoded text, the query is raw."""
    r = request(path="/ü b/%41", root_path="/e/ö", query=b"b=2&a=1&a=%FF&flag;x=%zz")

    assert (r.path, r.script_root, r.query_string) == ("/ü b/%41", "/e/ö", b"b=2&a=1&a=%FF&flag;x=%zz")
    assert r.args.getlist("a") == ["1", "%FF"]


def test_repeated_headers() -> None:
    """Repeated fields are kept, and joined where one value is asked for."""
    r = request(
        headers=[
            ("host", "h"),
            ("x-a", "1"),
            ("Cookie", "a=1"),
            ("X-A", "2"),
            ("accept", "text/html"),
            ("cookie", "b=2"),
            ("accept", "application/json;q=0.5"),
        ]
    )
    assert r.headers.getlist("X-A") == ["1", "2"]
    assert (r.headers["x-a"], r.environ["HTTP_X_A"]) == ("1,2", "1,2")
    assert (r.headers.getlist("cookie"), r.environ["HTTP_COOKIE"]) == (["a=1", "b=2"], "a=1; b=2")
    assert dict(r.cookies) == {"a": "1", "b": "2"}
    assert r.accept_mimetypes.accept_json
    assert list(r.headers.keys()) == ["Host", "X-A", "Cookie", "X-A", "Accept", "Cookie", "Accept"]


def test_headers_are_read_only() -> None:
    """As with every werkzeug request; a missing field is a KeyError that is a 400 as well."""
    headers = RequestHeaders([("x-a", "1")])

    assert "X-A" in headers
    assert "x-b" not in headers
    assert headers.get("x-b") is None
    assert headers.get("x-b", 7) == 7
    assert headers.get("X-a", type=int) == 1
    with pytest.raises(BadRequestKeyError):
        headers["x-b"]
    with pytest.raises(TypeError):
        headers["x-a"] = "2"
    with pytest.raises(TypeError):
        headers.copy()


def test_odd_headers() -> None:
    """Names with `_` are dropped, values are latin-1, what is about the transfer is known better."""
    r = request(
        b"x",
        content_length=1,
        headers=[
            ("Host", "h"),
            ("X_Forged", "1"),
            ("X-Name", "caf\xe9"),
            ("Content-Length", "77"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Type", "text/plain"),
        ],
    )
    assert r.headers["X-Name"] == "caf\xe9"
    assert not [name for name in r.environ if "FORGED" in name or "TRANSFER" in name]
    assert (r.headers["Content-Length"], r.content_length, r.mimetype) == ("1", 1, "text/plain")
    assert (r.environ["CONTENT_LENGTH"], r.environ["CONTENT_TYPE"]) == ("1", "text/plain")
    assert "HTTP_CONTENT_LENGTH" not in r.environ


def test_who_and_where() -> None:
    """Host, scheme and address are those of the invocation."""
    r = request(scheme="https", headers=[("Host", "example.org:8443")], remote_addr="192.0.2.1", path="/x")
    assert (r.url, r.remote_addr) == ("https://example.org:8443/x", "192.0.2.1")

    r = request(headers=[], server_name="fallback", server_port=81)
    assert (r.host, r.remote_addr) == ("fallback:81", None)
    assert "REMOTE_ADDR" not in r.environ


def test_body_is_read_when_asked_for() -> None:
    """Nothing is read before the endpoint reads, and lines and iteration work on the stream."""
    source = Source(b"one\ntw", b"o\nthree")
    r = make_request(make_invoke(has_body=True), source)
    assert source.reads == 0

    assert r.stream.readline() == b"one\n"
    assert source.reads == 1
    assert list(r.stream) == [b"two\n", b"three"]
    assert r.stream.read() == b""


def test_body_without_length() -> None:
    """A body of unknown length is read to its end."""
    assert request(b"abc", b"def").get_data() == b"abcdef"
    assert request(b'{"a"', b": [1]}", headers=[("Content-Type", "application/json")]).json == {"a": [1]}


def test_forms() -> None:
    """Forms of both kinds are parsed from the stream."""
    r = request(b"a=1&b=", b"%C3%A9", headers=[("Content-Type", "application/x-www-form-urlencoded")])
    assert r.form.to_dict() == {"a": "1", "b": "é"}

    data = b'--B\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n\0data\r\n--B--\r\n'
    r = request(
        *(data[n : n + 1] for n in range(len(data))), headers=[("Content-Type", "multipart/form-data; boundary=B")]
    )
    assert (r.files["f"].filename, r.files["f"].read()) == ("x", b"\0data")
    r.close()


def test_no_body() -> None:
    """Without a body there is an empty stream."""
    assert request(method="POST", content_length=0).get_data() == b""
    assert request(method="POST").stream.read() == b""


def test_values() -> None:
    """Values have the types of the router's converters."""
    number = uuid.uuid4()

    assert {"s": "a", "i": -(10**40), "f": 0.5, "u": number} == convert_values(
        [("s", "str", "a"), ("i", "int", str(-(10**40))), ("f", "float", 0.5), ("u", "uuid", str(number))]
    )

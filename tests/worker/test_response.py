"""Heads and pieces of the responses that endpoints return."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import create_environ
from werkzeug.utils import redirect, send_file
from werkzeug.wrappers import Response
from werkzeug.wsgi import FileWrapper

from worker.response import Answer, ResponseError, read_response


def read(result: object, method: str = "GET") -> Answer:
    """Read a return value as the answer to a request."""
    return read_response(result, method=method, environ=create_environ(method=method))


def headers(answer: Answer, name: str) -> list[str]:
    """The values of a header."""
    return [value.decode("latin-1") for key, value in answer.head.headers if key.decode() == name]


def generate(*items: Any) -> Iterator[Any]:
    """A generator of the items."""
    yield from items


@pytest.mark.parametrize(
    ("body", "pieces", "length"),
    [
        ("é", [b"\xc3\xa9"], "2"),
        (b"abc", [b"abc"], "3"),
        (bytearray(b"abc"), [b"abc"], "3"),
        (["a", b"b", bytearray(b"c"), memoryview(b"d")], [b"abcd"], "4"),
        (("a", "b"), [b"ab"], "2"),
        ([], [], "0"),
        (None, [], "0"),
        ({"json": 1, "rpc": 2}, [b"json", b"rpc"], None),
        (generate("a", b"", bytearray(b"b"), memoryview(b"c")), [b"a", b"b", b"c"], None),
        (map(str, range(3)), [b"0", b"1", b"2"], None),
        (iter(()), [], None),
        (io.BytesIO(b"one\ntwo"), [b"one\n", b"two"], None),
        (b"x" * 70_000, [b"x" * 65_536, b"x" * 4_464], "70000"),
        (generate(b"y" * 131_072), [b"y" * 65_536] * 2, None),
    ],
)
def test_bodies(body: Any, pieces: list[bytes], length: str | None) -> None:
    """Every kind of body has its pieces, and its length where that is known."""
    answer = read(Response(body, headers={"Content-Length": "1000"}))

    assert pieces == list(answer.body)
    assert ([length] if length else []) == headers(answer, "Content-Length")


def test_nothing_is_taken_ahead() -> None:
    """A generator is not started before its first piece is asked for, nor run ahead of what is asked for."""
    made = []

    def count() -> Iterator[str]:
        for n in range(3):
            made.append(n)
            yield str(n)

    answer = read(Response(count()))
    assert made == []
    assert next(answer.body) == b"0"
    assert made == [0]


def test_file_wrapper() -> None:
    """A file that can be measured has the length of what is left of it."""
    file = io.BytesIO(b"0123456789")
    file.seek(4)
    answer = read(Response(FileWrapper(file, 4), direct_passthrough=True))

    assert headers(answer, "Content-Length") == ["6"]
    assert list(answer.body) == [b"4567", b"89"]


def test_send_file() -> None:
    """Werkzeug's own file responses work, as do its conditional ones."""
    environ = create_environ()
    answer = read(send_file(io.BytesIO(b"data"), environ, mimetype="text/plain"))
    assert (headers(answer, "Content-Length"), list(answer.body)) == (["4"], [b"data"])

    environ = create_environ(headers={"Range": "bytes=1-2"})
    answer = read(send_file(io.BytesIO(b"data"), environ, mimetype="text/plain"))
    assert (answer.head.status, list(answer.body)) == (206, [b"at"])


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("status", [200, 204, 205, 304])
def test_bodiless(method: str, status: int) -> None:
    """HEAD, 204, 205 and 304 have no body, and their iterators are not touched."""
    if method == "GET" and status == 200:
        return
    answer = read(Response(generate(1 / 1), status=status), method)

    assert list(answer.body) == []
    assert status == answer.head.status


def test_lengths_without_body() -> None:
    """The answer to HEAD states the length that GET would have; 204 and 205 state none."""
    assert headers(read(Response("hello"), "HEAD"), "Content-Length") == ["5"]
    assert headers(read(Response(generate(), headers={"Content-Length": "99"}), "HEAD"), "Content-Length") == ["99"]
    assert headers(read(Response("hello", headers={"Content-Length": "99"}), "HEAD"), "Content-Length") == ["5"]
    for status in (204, 205):
        assert headers(read(Response("hello", status, headers={"Content-Length": "5"})), "Content-Length") == []


def test_headers() -> None:
    """Repeated headers are kept in order; values are latin-1 where they can be, and UTF-8 where not."""
    response = Response("x")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    response.headers.add("X-Name", "caf\xe9")
    response.headers.add("X-Name", "\N{CAT FACE}")
    answer = read(response)

    assert headers(answer, "Set-Cookie") == ["a=1; Path=/", "b=2; Path=/"]
    assert [b"caf\xe9", "\N{CAT FACE}".encode()] == [v for k, v in answer.head.headers if k == b"X-Name"]


def test_redirects() -> None:
    """A relative location stays relative; one with other characters is made a URI."""
    assert headers(read(redirect("x/y")), "Location") == ["x/y"]
    assert headers(read(redirect("/é")), "Location") == ["/%C3%A9"]


class OwnResponse(Response):
    """A subclass, as flask's response is one."""

    default_mimetype = "application/json"


def test_subclass() -> None:
    """Subclasses of werkzeug's response are responses."""
    assert headers(read(OwnResponse("{}")), "Content-Type") == ["application/json"]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "None (is a `return` missing?)"),
        ("text", "an object of type str; expected a werkzeug.Response"),
        (Response, "type"),
        (Response("x", 99), "99"),
        (Response("x", 1000), "1000"),
        (Response("x", headers=[("X Y", "1")]), "token"),
    ],
)
def test_refused(result: object, message: str) -> None:
    """What is no response, or none that HTTP allows, is refused with what it was."""
    with pytest.raises(ResponseError) as caught:
        read(result)

    assert message in str(caught.value)


@pytest.mark.parametrize("items", [[1], ["a", None], [{"a": 1}]])
def test_wrong_items(items: list[Any]) -> None:
    """Bodies consist of text and bytes."""
    with pytest.raises(TypeError, match="may consist of str and bytes"):
        list(read(Response(items)).body)
    with pytest.raises(TypeError, match="may consist of str and bytes"):
        list(read(Response(iter(items))).body)

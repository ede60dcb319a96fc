"""What a client sees of an endpoint's response."""

from __future__ import annotations

import pytest

from tests import plain_http
from tests.e2e.harness import Executor

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("str", "grüße".encode()),
        ("bytes", b"bytes"),
        ("empty", b""),
        ("none", b""),
        ("list", b"abc"),
        ("tuple", b"ab"),
        ("dict", b"onetwo"),
        ("map", b"012"),
        ("iterator", b"it"),
        ("file", b"file" * 1000),
        ("generator", b"gen!"),
        ("empty-generator", b""),
        ("large", b"L" * (5 << 20)),
    ],
)
def test_bodies(lab: Executor, kind: str, body: bytes) -> None:
    """Every kind of body arrives as werkzeug means it."""
    answer = lab.get(f"/body/{kind}")
    assert (answer.status_code, answer.content) == (200, body)


def test_known_bodies_have_a_length(lab: Executor) -> None:
    """A string's length is told; a generator's is not."""
    assert lab.get("/body/str").headers["content-length"] == "7"
    generated = lab.get("/body/generator")
    assert "content-length" not in generated.headers
    assert generated.headers["transfer-encoding"] == "chunked"


def test_headers(lab: Executor) -> None:
    """Repeated headers and cookies stay; the connection's headers are ours; a wrong length does no harm."""
    answer = lab.get("/headers")
    assert answer.content == b"1234567890"
    assert answer.headers.get_list("x-many") == ["one", "two"]
    assert [cookie.split("=")[0] for cookie in answer.headers.get_list("set-cookie")] == ["first", "second"]
    assert answer.headers["location"] == "relative/place"
    assert answer.headers["x-text"] == "caf\xe9"
    assert "x-gone" not in answer.headers.get("connection", "").lower()
    assert "server" not in answer.headers
    (invocation_id,) = answer.headers.get_list("x-invocation-id")
    assert lab.invocation(invocation_id)["rule"] == "/headers", "the id is ours, whatever the endpoint says"


@pytest.mark.parametrize("length", ["3", "1000", "abc", "-1", "1" * 30])
def test_a_wrong_content_length_does_no_harm(lab: Executor, length: str) -> None:
    """Whatever the endpoint claims, the client gets the body."""
    assert lab.get("/headers", params={"length": length}).content == b"1234567890"


@pytest.mark.parametrize("code", [200, 201, 202, 301, 302, 400, 401, 404, 418, 451, 500, 503, 599])
def test_any_status(lab: Executor, code: int) -> None:
    """The endpoint's status is the client's, errors too."""
    answer = lab.get(f"/status/{code}")
    assert (answer.status_code, answer.text) == (code, f"status {code}")


@pytest.mark.parametrize(("code", "length"), [(204, None), (205, "0"), (304, None)])
def test_statuses_without_a_body(lab: Executor, code: int, length: str | None) -> None:
    """No body is sent, and the connection stays usable; only 205 says that there are 0 bytes."""
    with lab.client() as client:
        answer = client.get(f"/status/{code}")
        assert (answer.status_code, answer.content, answer.headers.get("content-length")) == (code, b"", length)
        assert "transfer-encoding" not in answer.headers
        assert client.get("/status/200").text == "status 200"


@pytest.mark.parametrize("code", [100, 150, 600, 999])
def test_impossible_statuses(lab: Executor, code: int) -> None:
    """A status that HTTP cannot say as a final one is the endpoint's error."""
    assert lab.get(f"/status/{code}").status_code in (500, 502)


def test_head(lab: Executor) -> None:
    """HEAD runs the GET endpoint and has its headers, without the body."""
    with lab.client() as client:
        answer = client.head("/body/large")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == str(5 << 20)
        assert client.head("/body/generator").status_code == 200
        assert client.get("/body/str").status_code == 200


def test_every_answer_names_its_invocation(lab: Executor) -> None:
    """The header's id is the one in the log, with the figures."""
    answer = lab.get("/stream/4/1000")
    figures = lab.invocation(answer.headers["x-invocation-id"])
    assert figures["outcome"] == "ok"
    assert figures["status"] == 200
    assert figures["bytes_out"] == 4000
    assert figures["rule"] == "/stream/<int:count>/<int:size>"
    assert figures["hook_id"] == figures["plugin"] == "lab"
    assert figures["exit"] == "exit 0"
    assert figures["max_rss_bytes"] > 5 << 20
    assert figures["minor_faults"] > 50
    assert 0 < figures["ready_s"] <= figures["first_byte_s"] <= figures["duration_s"] < 30
    assert figures["cpu_user_s"] + figures["cpu_system_s"] > 0


def test_problems_are_documents(lab: Executor) -> None:
    """RFC 9457: type, title, status, code and the invocation's id."""
    answer = lab.get("/raise/runtime")
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code == 500
    assert document["code"] == "endpoint.raised"
    assert document["invocation_id"] == answer.headers["x-invocation-id"]
    assert "secret" not in answer.text


def test_form_upload(lab: Executor) -> None:
    """Fields and files of a multipart form."""
    with lab.client() as client:
        seen = client.post("/form", data={"name": ["a", "b"]}, files={"one": ("1.txt", b"x" * 1000)}).json()
    assert seen["form"] == {"name": ["a", "b"]}
    assert seen["files"]["one"]["filename"] == "1.txt"
    assert seen["files"]["one"]["size"] == 1000


def test_hundred_mebibytes_of_form_are_not_held_in_memory(lab: Executor) -> None:
    """A multipart upload of 100 MiB is spooled to the worker's own folder."""
    with lab.client() as client:
        seen = client.post("/form", files={"big": ("big.bin", b"\0" * (100 << 20))}).json()
    assert seen["files"]["big"]["size"] == 100 << 20
    assert seen["peak"] < 80 << 20, "the worker's peak memory in bytes"


def test_http_client_of_another_make(lab: Executor) -> None:
    """An HTTP/1.0 client gets a response that it can read to the end."""
    with lab.raw() as connection:
        connection.send(b"GET /e/lab/body/str HTTP/1.0\r\n\r\n")
        assert connection.read_all().endswith("\r\n\r\ngrüße".encode())


def test_redirects_are_not_followed_for_the_client(lab: Executor) -> None:
    """A redirect of the endpoint's reaches the client as it is."""
    answer = plain_http.get(f"{lab.url}/e/lab/status/302")
    assert answer.status_code == 302

"""What an endpoint sees of a request."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.e2e.harness import LAB, Executor

pytestmark = pytest.mark.e2e


def raw_info(lab: Executor, head: str, body: bytes = b"") -> dict[str, Any]:
    """Send a hand-written request and return what the endpoint saw."""
    with lab.raw() as connection:
        connection.send(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n" + body)
        answer = connection.read_until(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        text = connection.read_until(b"}") if length == 0 else b""
        while len(text) < length:
            text += connection.read_until(b"}")
        seen: dict[str, Any] = json.loads(text)
        return seen


def test_path_values_have_the_types_of_their_converters(lab: Executor) -> None:
    """Integers of any size, strings, UUIDs and floats arrive as such."""
    key = uuid.uuid4()
    number = 10**40
    seen = lab.get(f"/info/{number}/n%C3%A4me/{key}/2.5").json()
    assert seen["values"] == {
        "number": ["int", str(number)],
        "name": ["str", "näme"],
        "key": ["UUID", str(key)],
        "ratio": ["float", "2.5"],
    }


def test_the_raw_query_is_unchanged(lab: Executor) -> None:
    """Order, empty values, plus signs, semicolons and malformed escapes survive."""
    query = "b=2&a=1&flag&x=%zz;y=+&a=%E4"
    seen = raw_info(lab, f"GET /e/lab/info?{query} HTTP/1.1\nHost: h\nConnection: close\n")
    assert seen["query"] == query
    assert seen["args"]["a"] == ["1", "%E4"]


def test_repeated_headers_are_kept(lab: Executor) -> None:
    """Both values of a header, and both Cookie lines, reach the endpoint."""
    seen = raw_info(
        lab,
        "GET /e/lab/info HTTP/1.1\nHost: example.org:81\nX-Many: one\nX-Many: two\nCookie: a=1\nCookie: b=2\n"
        "X-Latin: caf\xe9\nUnder_Score: no\nConnection: close, X-Hop\nTE: trailers\nX-Forwarded-For: 1.2.3.4\n",
    )
    headers = [(name.lower(), value) for name, value in seen["headers"]]
    assert [value for name, value in headers if name == "x-many"] == ["one", "two"]
    assert seen["cookies"] == {"a": ["1"], "b": ["2"]}
    assert ("x-latin", "caf\xe9") in headers
    names = {name for name, _ in headers}
    assert not names & {"under_score", "under-score", "te", "connection", "x-forwarded-for"}
    assert seen["host"] == "example.org:81"
    assert seen["url"] == "http://example.org:81/info"
    assert seen["script_root"] == ""


def test_the_hook_headers_are_ours(lab: Executor) -> None:
    """A client cannot say which hook it called."""
    seen = lab.get("/info", headers={"Dify-Hook-Id": "lie", "Dify-Hook-Url": "http://lie/"}).json()
    headers = {name.lower(): value for name, value in seen["headers"]}
    assert headers["dify-hook-id"] == "lab"
    assert headers["dify-hook-url"] == f"{lab.url}/e/lab/info"


def test_a_trusted_proxy_is_believed() -> None:
    """Scheme, host, client address and public URL come from the proxy, when it is configured."""
    config = {"trusted_proxies": ["127.0.0.0/8"], "plugins": [str(LAB)]}
    with Executor(config=config) as executor:
        seen = executor.get(
            "/info",
            headers={
                "X-Forwarded-Proto": "https",
                "X-Forwarded-For": "6.6.6.6, 203.0.113.9, 127.0.0.9",
                "X-Original-Host": "public.example",
                "Dify-Hook-Url": "https://public.example/e/lab/info?x=1",
            },
        ).json()
    assert seen["url"] == "https://public.example/info"
    assert seen["remote_addr"] == "203.0.113.9"
    headers = {name.lower(): value for name, value in seen["headers"]}
    assert headers["dify-hook-url"] == "https://public.example/e/lab/info?x=1"


def test_settings_carry_defaults(lab: Executor) -> None:
    """Defaults are filled in; what was not given stays missing."""
    assert lab.get("/info").json()["settings"] == {"greeting": "hello", "shout": False}


def test_an_encoded_slash_is_a_slash(lab: Executor) -> None:
    """As in the reference, `%2F` is decoded before routing."""
    seen = lab.get("/deep/a%2Fb/c").json()
    assert seen["path"] == "/deep/a/b/c"
    assert seen["values"]["rest"] == ["str", "a/b/c"]


def test_a_request_without_host(lab: Executor) -> None:
    """HTTP/1.0 needs no Host; the endpoint sees our address."""
    seen = raw_info(lab, "GET /e/lab/info HTTP/1.0\n")
    assert lab.url == f"http://{seen['host']}"


@pytest.mark.parametrize("headers", ["Content-Length: 0\n", "", "Transfer-Encoding: chunked\n"])
def test_an_empty_post_is_empty(lab: Executor, headers: str) -> None:
    """No chunk framing ends up in the body."""
    body = b"0\r\n\r\n" if "chunked" in headers else b""
    seen = raw_info(lab, f"POST /e/lab/info HTTP/1.1\nHost: h\nConnection: close\n{headers}", body)
    assert seen["body"] == ""


def test_a_chunked_body_is_decoded(lab: Executor) -> None:
    """The endpoint reads content, whatever the transfer coding."""
    head = "POST /e/lab/info HTTP/1.1\nHost: h\nConnection: close\nTransfer-Encoding: chunked\n"
    assert raw_info(lab, head, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")["body"] == "abcde"


def test_expect_continue_is_answered(lab: Executor) -> None:
    """A client that asks first is told to go on, and its header does not reach the endpoint."""
    with lab.raw() as connection:
        connection.send(b"POST /e/lab/info HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        connection.send(b"ok")
        assert connection.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_body_is_echoed(lab: Executor, method: str) -> None:
    """Every method that is declared is served, PATCH too."""
    with lab.client() as client:
        answer = client.request(method, "/echo", content=b"\x00\xffdata", headers={"Content-Type": "a/b"})
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (
        200,
        b"\x00\xffdata",
        "a/b",
    )


def test_many_requests_on_one_connection(lab: Executor) -> None:
    """Keep-alive, with bodies that the endpoint does not read in between."""
    with lab.client() as client:
        for _ in range(3):
            assert client.post("/ignore", content=b"z" * 300_000).text == "ignored"
            assert client.post("/echo", content=b"small").text == "small"


def test_the_environment_is_clean(lab: Executor) -> None:
    """Nothing of the service's environment, and no descriptor but its own."""
    seen = lab.get("/info").json()
    assert set(seen["environ"]) <= {"PATH", "LANG", "HOME", "TMPDIR", "LC_CTYPE"}
    assert seen["cwd"] == str(LAB)
    assert seen["path0"] == str(LAB)
    assert len([number for number in seen["descriptors"] if number <= 2]) == 3
    assert len(seen["descriptors"]) <= 6, "0, 1, 2, two of the protocol, and the one that lists"


def test_every_request_has_a_process_of_its_own(lab: Executor) -> None:
    """The module's counter is one every time, and so is what the process is called: the second of its own table."""
    answers = [lab.get("/count").text.split() for _ in range(5)]
    assert answers == [["1", "2"]] * 5


def test_a_plugin_may_have_modules_named_like_ours(lab: Executor) -> None:
    """`import worker`, `protocol`, `executor` find the plugin's own."""
    assert lab.get("/own-modules").text == "my worker my protocol my executor my json_utils"

"""Which endpoint answers, and what answers when none does."""

from __future__ import annotations

import httpx
import pytest
from werkzeug.exceptions import MethodNotAllowed, NotFound

from tests import plain_http
from tests.e2e.harness import LAB, Executor

pytestmark = pytest.mark.e2e


def request(executor: Executor, method: str, path: str, **options: dict[str, str]) -> httpx.Response:
    """Request a path as it is, without the client's own normalisation of redirects."""
    return plain_http.request(method, executor.url + path, **options)


@pytest.mark.parametrize("path", ["/", "/e", "/e/", "/nothing", "/e/unknown/info", "/e/lab/nothing", "/e/LAB/info"])
def test_unknown_places(lab: Executor, path: str) -> None:
    """Nothing there: 404 as a problem document."""
    answer = request(lab, "GET", path)
    assert answer.status_code == 404
    assert answer.json()["code"] in ("route.not_found", "hook.not_found")


def test_method_not_allowed(lab: Executor) -> None:
    """405 names the methods that are declared, HEAD with GET."""
    answer = request(lab, "DELETE", "/e/lab/info")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_a_missing_slash_is_added(lab: Executor) -> None:
    """308, so that the method and the body survive; the query is kept."""
    answer = request(lab, "GET", "/e/lab/slash?a=%20b")
    assert (answer.status_code, answer.headers["location"]) == (308, "/e/lab/slash/?a=%20b")


def test_doubled_slashes_are_merged(lab: Executor) -> None:
    """As werkzeug does it."""
    answer = request(lab, "GET", "/e/lab/status//200")
    assert (answer.status_code, answer.headers["location"]) == (308, "/e/lab/status/200")


def test_the_hook_without_a_slash(lab: Executor) -> None:
    """The hook's own address ends with a slash."""
    answer = request(lab, "GET", "/e/lab")
    assert (answer.status_code, answer.headers["location"]) == (308, "/e/lab/")


def test_options_is_not_automatic(lab: Executor) -> None:
    """Declared it is served; undeclared it is a method like any other."""
    assert request(lab, "OPTIONS", "/e/lab/options").json()["method"] == "OPTIONS"
    assert request(lab, "OPTIONS", "/e/lab/info").status_code == 405


def test_numbers_beyond_reason(lab: Executor) -> None:
    """A path with thousands of digits is not found, or refused, and nothing breaks."""
    path = f"/e/lab/status/{'9' * 8000}"
    assert request(lab, "GET", path).status_code in (404, 500)
    assert request(lab, "GET", "/e/lab/status/200").status_code == 200


def test_paths_that_are_not_utf8(lab: Executor) -> None:
    """Bytes that are no text are replaced, not fatal."""
    answer = request(lab, "GET", "/e/lab/deep/%ff%fe")
    assert answer.status_code == 200


def test_the_reference_answers_404_to_everything() -> None:
    """`compat.routing: dify`."""
    config = {"compat": {"routing": "dify"}, "plugins": [str(LAB)]}
    with Executor(config=config) as executor:
        texts = []
        for method, path in (("DELETE", "/e/lab/info"), ("GET", "/e/lab/slash"), ("GET", "/e/lab/none")):
            answer = request(executor, method, path)
            assert answer.status_code == 404
            texts.append(answer.text.partition("Failed to dispatch endpoint request: ")[2])
        assert texts == [str(MethodNotAllowed()), "308 Permanent Redirect: /slash/", str(NotFound())]
        assert request(executor, "GET", "/e/lab").status_code == 301
        assert request(executor, "POST", "/e/lab").status_code == 307


def test_cors() -> None:
    """Preflights are answered and responses marked, for configured origins only."""
    config = {"cors": {"origins": ["https://app.example"], "headers": ["X-Key"]}, "plugins": [str(LAB)]}
    with Executor(config=config) as executor:
        ask = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        answer = request(executor, "OPTIONS", "/e/lab/echo", headers=ask)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == "X-Key"
        answer = request(executor, "GET", "/e/lab/status/200", headers={"Origin": "https://app.example"})
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        other = request(executor, "OPTIONS", "/e/lab/echo", headers={**ask, "Origin": "https://evil.example"})
        assert other.status_code == 405
        assert "access-control-allow-origin" not in other.headers

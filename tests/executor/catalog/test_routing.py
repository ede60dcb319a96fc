"""Requests find their endpoints as the contract says, and nothing in a path makes the router stumble."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.catalog.endpoint import Endpoint
from executor.catalog.routing import Match, MethodNotAllowed, Mode, NotFound, PathValue, Redirect, Router
from executor.catalog.rules import MAX_WAYS, RuleError, check_rule

UUID = "12345678-1234-5678-1234-567812345678"


def _router(*routes: str, mode: Mode = "http") -> Router:
    """Make a router of routes such as `GET /cat`; the source of an endpoint is its route."""
    pairs = [route.split(" ", 1) for route in routes]
    return Router([Endpoint(method=method, path=path, source=f"{method} {path}") for method, path in pairs], mode)


def _found(router: Router, method: str, path: str) -> str:
    """Find the source of the endpoint of a request."""
    routed = router.match(method, path)
    assert isinstance(routed, Match), routed
    return routed.endpoint.source


def _values(rule: str, path: str) -> tuple[PathValue, ...] | None:
    """Match a path against one rule."""
    routed = _router(f"GET {rule}").match("GET", path)
    return routed.values if isinstance(routed, Match) else None


@pytest.mark.parametrize(
    ("rule", "path", "values"),
    [
        ("/cat", "/cat", ()),
        ("/duck/<app_id>", "/duck/a b", (("app_id", "str", "a b"),)),
        ("/duck/<app_id>", "/duck/é/猫", None),
        ("/duck/<app_id>", "/duck/", None),
        ("/<string(length=2):x>", "/ab", (("x", "str", "ab"),)),
        ("/<string(length=2):x>", "/abc", None),
        ("/<int:n>", "/007", (("n", "int", "7"),)),
        ("/<int:n>", "/-7", None),
        ("/<int(signed=True):n>", "/-7", (("n", "int", "-7"),)),
        ("/<int(min=5):n>", "/4", None),
        ("/<int:n>", "/" + "9" * 100, (("n", "int", "9" * 100),)),
        ("/<int:n>", "/٣", (("n", "int", "3"),)),
        ("/<int:n>", "/²", None),
        ("/<float:f>", "/1.50", (("f", "float", 1.5),)),
        ("/<float:f>", "/1", None),
        ("/<float:f>", f"/{'9' * 400}.0", (("f", "float", float("inf")),)),
        ("/<path:p>", "/a/b//c", (("p", "str", "a/b//c"),)),
        ("/<path:p>", "/a/b/c", (("p", "str", "a/b/c"),)),
        ("/<any(cat, dog):a>", "/dog", (("a", "str", "dog"),)),
        ("/<any(cat, dog):a>", "/cow", None),
        ("/<uuid:u>", f"/{UUID.upper()}", (("u", "uuid", UUID),)),
        ("/<uuid:u>", "/1234", None),
        ("/<b>/<a>", "/1/2", (("b", "str", "1"), ("a", "str", "2"))),
        ("/a.b+c/<x>", "/aXbbc/1", None),
    ],
)
def test_values(rule: str, path: str, values: tuple[PathValue, ...] | None) -> None:
    """Values come converted, with their kinds, in the order of the rule."""
    assert _values(rule, path) == values


def test_two_methods_of_a_path() -> None:
    """Endpoints may share a path."""
    router = _router("GET /cat", "POST /cat")

    assert _found(router, "GET", "/cat") == "GET /cat"
    assert _found(router, "POST", "/cat") == "POST /cat"
    assert _found(router, "HEAD", "/cat") == "GET /cat"
    assert router.match("DELETE", "/cat") == MethodNotAllowed(("GET", "HEAD", "POST"))


def test_patch_and_options() -> None:
    """PATCH is served when declared; OPTIONS only when declared."""
    router = _router("PATCH /a", "OPTIONS /b", "GET /c")

    assert _found(router, "PATCH", "/a") == "PATCH /a"
    assert _found(router, "OPTIONS", "/b") == "OPTIONS /b"
    assert router.match("OPTIONS", "/c") == MethodNotAllowed(("GET", "HEAD"))


@pytest.mark.parametrize(("mode", "source"), [("http", "HEAD /cat"), ("dify", "GET /cat")])
def test_head_of_its_own(mode: Mode, source: str) -> None:
    """An endpoint declared for HEAD is reached, though GET brings a HEAD along; not so in Dify."""
    assert _found(_router("GET /cat", "HEAD /cat", mode=mode), "HEAD", "/cat") == source


def test_weights_decide_not_the_order() -> None:
    """What is written out comes before variables, numbers before texts."""
    router = _router("GET /<path:p>", "GET /<x>", "GET /<int:n>", "GET /cat")

    paths = ["/cat", "/7", "/dog", "/a/b"]

    assert [_found(router, "GET", path) for path in paths] == ["GET /cat", "GET /<int:n>", "GET /<x>", "GET /<path:p>"]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/messages", "/messages/"),
        ("//messages", "/messages/"),
        ("/messages//", "/messages/"),
        ("/x/%41", "/x/%41/"),
        ("/a//b", "/a/b"),
        ("/a///b", "/a/b"),
        ("/x/ä b?c%#", "/x/ä b?c%#/"),
        ("/x//evil.example", "/x/evil.example/"),
    ],
)
def test_redirects(path: str, target: str) -> None:
    """A missing slash at the end and doubled ones are mended; the path is decoded, as it was given."""
    router = _router("GET /messages/", "GET /a/b", "GET /x/<y>/")

    assert router.match("GET", path) == Redirect(target)


def test_no_redirect_for_another_method() -> None:
    """A missing slash is mended only for methods that the endpoint has."""
    assert _router("POST /messages/").match("GET", "/messages") == NotFound()


@pytest.mark.parametrize("mode", ["http", "dify"])
def test_failures_are_told_as_they_are_in_both_modes(mode: Mode) -> None:
    """That Dify has one answer to all of them is for the gateway to imitate."""
    router = _router("GET /cat/", mode=mode)

    assert router.match("DELETE", "/cat/") == MethodNotAllowed(("GET", "HEAD"))
    assert router.match("GET", "/cat") == Redirect("/cat/")
    assert router.match("GET", "/dog") == NotFound()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "cat",
        "//",
        "/" * 16384,
        "/x" * 8192,
        "/" + "9" * 5000,
        "/\x00",
        "/\n",
        "/cat\n",
        "/\ud800",
        "/\udcff//",
        "/slash/\udcff",
        "/" + chr(0xFFFD),
        "/%",
        "/..",
        "/../../etc/passwd",
        "/http://evil.example//",
        f"/{UUID}",
    ],
)
@pytest.mark.parametrize("method", ["GET", "get", "PROPFIND", "", "\udcff"])
def test_no_path_makes_it_raise(method: str, path: str) -> None:
    """Huge integers, halves of surrogate pairs, control characters: there is always an answer."""
    router = _router("GET /<int:n>", "GET /<uuid:u>", "GET /<float:f>", "POST /<path:p>", "GET /slash/<x>/", "GET /cat")

    assert isinstance(router.match(method, path), Match | NotFound | MethodNotAllowed | Redirect)


@given(path=st.text(max_size=50), method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS"]))
def test_any_path_has_an_answer(path: str, method: str) -> None:
    """Also paths that nobody thought of; a redirect is a local path that needs no second one."""
    router = _router("GET /<x>/", "POST /<int:a>/<float:b>", "GET /a/<path:p>/b", "GET /<any(a,b):x>.<y>")

    routed = router.match(method, path)

    assert isinstance(routed, Match | NotFound | MethodNotAllowed | Redirect)
    if isinstance(routed, Redirect):
        assert routed.path.startswith("/")
        assert not routed.path.startswith("//")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/a/<x>", "/a/<y>", True),
        ("/a/<x>", "/a/<string:y>", True),
        ("/a/<x>", "/a/<string(minlength=1):y>", True),
        ("/a//b", "/a/b", True),
        ("/<int:x>", "/<int(min=3):y>", True),
        ("/a/<x>", "/a/<int:x>", False),
        ("/a/<x>", "/b/<x>", False),
        ("/a/", "/a", False),
        ("/<any(a,b):x>", "/<any(a,c):x>", False),
        ("/<x>-<y>", "/<y>-<x>", True),
        ("/<path:x>", "/<x>", False),
    ],
)
def test_equivalent_rules(one: str, other: str, same: bool) -> None:  # noqa: FBT001 - a parameter
    """Rules are equivalent when they differ in the names of their variables only."""
    assert (check_rule(one) == check_rule(other)) is same


@pytest.mark.parametrize(
    ("rule", "path", "matches"),
    [
        ("/<year>-<month>-<day>", "/2025-01-31", True),
        ("/<path:a>/files/<path:b>", "/" + "a/" * 200 + "files/" + "b/" * 200 + "c", True),
        ("/<path:a>/files/<path:b>", "/" + "a" * 600 + "/files/b", False),
        ("/<name>.<suffix>", "/" + "a" * 500 + ".py", True),
        ("/<name>.<suffix>", "/" + "a" * 600 + ".py", False),
        ("/<int:a>-<int:b>", "/" + "1" * 400 + "-2", True),
        ("/<path:a>", "/" + "a" * 10_000, True),
        ("/<a>/<b>", "/" + "a" * 5000 + "/" + "b" * 5000, True),
        ("/<string(minlength=900):a>-<b>", "/" + "a" * 1000 + "-b", True),
        ("/<string(maxlength=3):a>-<b>", "/aaaa-b", False),
    ],
)
def test_variables_that_share_an_expression_are_bounded(rule: str, path: str, matches: bool) -> None:  # noqa: FBT001
    """Two variables between two slashes have 500 characters each; alone, they have no bound."""
    check_rule(rule)

    assert isinstance(_router(f"GET {rule}").match("GET", path), Match) is matches


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/<path:a>-<path:b>-<path:c>!", "/" + "-" * 16000),
        ("/<a>-<b>-<c>-<d>-<e>!", "/" + "-" * 16000),
        ("/<int:a><int:b><int:c><int:d>!", "/" + "1" * 16000),
        ("/<float:a><float:b><float:c>!", "/" + "1.1" * 5000),
        ("/<path:a>/<path:b>/<path:c>/<path:d>/!", "/" + "a/" * 8000),
        ("/<any(a,aa,aaa):p><any(a,aa,aaa):q><any(a,aa,aaa):r><path:s>!", "/" + "a" * 16000),
        ("/<string(maxlength=9999):a><string(maxlength=9999):b><string(maxlength=9999):c>!", "/" + "a" * 16000),
        ("/<string(minlength=2,maxlength=9999):a><b>!", "/" + "a" * 16000),
    ],
)
def test_no_rule_makes_a_request_costly(rule: str, path: str) -> None:
    """Rules that would take days with plain expressions take milliseconds; a minute is the time-out of a test."""
    check_rule(rule)
    started = time.process_time()

    assert _router(f"GET {rule}").match("GET", path) == NotFound()
    assert time.process_time() - started < 120


def test_the_bound_is_the_one_in_the_documentation() -> None:
    """The numbers that the documentation gives follow from the limit."""
    assert [int(MAX_WAYS ** (1 / count)) for count in (2, 3, 4)] == [500, 62, 22]


@given(rule=st.text(alphabet="/<>():=,abc019'\"_-.* []{}%", max_size=60))
def test_any_rule_is_refused_or_served(rule: str) -> None:
    """A rule that passes the check can be put into a router, and matches without raising."""
    path = f"/{rule}"
    try:
        check_rule(path)
    except RuleError:
        return

    router = _router(f"GET {path}")

    for request in ("/", path, "/a/b", "/1", "/a-b-c"):
        router.match("GET", request)

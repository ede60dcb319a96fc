"""Who asks for an endpoint that is not there is told what there is."""

from __future__ import annotations

from pathlib import Path

from executor.authoring.routes import explain_failure
from executor.catalog.endpoint import Endpoint
from executor.catalog.plugin import load_plugin
from executor.catalog.routing import Router
from tests.e2e.harness import LAB


def endpoints() -> tuple[Endpoint, ...]:
    """Those of the lab."""
    plugin = load_plugin(Path(LAB)).plugin
    assert plugin is not None
    return plugin.endpoints


def explain(method: str, path: str) -> list[str]:
    """What is said of a request to the lab."""
    return explain_failure(Router(endpoints()), endpoints(), method, path)


def test_nothing_is_said_of_what_is_served() -> None:
    """Also where werkzeug adds HEAD."""
    assert explain("GET", "/info") == []
    assert explain("HEAD", "/info") == []


def test_near_misses() -> None:
    """By the likeness of the parts; a variable is like anything, and the same method comes first."""
    assert explain("GET", "/inof")[1] == "Did you mean GET /info?"
    assert explain("POST", "/inof")[1] == "Did you mean POST /info?"
    assert explain("GET", "/straem/3/4")[1] == "Did you mean GET /stream/<int:count>/<int:size>?"
    assert explain("GET", "/stream/3/x")[1] == "Did you mean GET /stream/<int:count>/<int:size>?"
    assert explain("GET", "/Info/")[1] == "Did you mean GET /info?"
    assert explain("GET", "/nothing-like-it")[1] == "The endpoints are:"


def test_other_failures() -> None:
    """The method, with those that are taken; the slash, with the path that has it."""
    assert explain("DELETE", "/echo")[0] == "405: /echo does not take DELETE; it takes PATCH, POST, PUT"
    assert explain("GET", "/slash") == ["308: the service redirects to /slash/; call that path"]
    assert "  GET      /info" in explain("GET", "/no")

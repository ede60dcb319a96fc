"""Finding the endpoint of a request, with werkzeug's routing as the contract demands.

What is found is told as it is: the endpoint, or no endpoint, or endpoints for other methods, or a redirect where a
slash is missing at the end or doubled inside. That Dify answers all failures with 404 is for the gateway to imitate.

Two modes. In `http` (the default) an endpoint declared for HEAD comes before the HEAD that every GET brings along; in
`dify` the first one declared wins, as in Dify.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote
from uuid import UUID

from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed
from werkzeug.exceptions import NotFound as WerkzeugNotFound
from werkzeug.routing import RequestRedirect

from executor.catalog.endpoint import Endpoint
from executor.catalog.rules import BoundedRule, create_map

__all__ = ["Match", "MethodNotAllowed", "Mode", "NotFound", "PathValue", "Redirect", "Routed", "Router", "dify_text"]

Mode = Literal["http", "dify"]

PathValue = tuple[str, str, str | float]
"""Name, kind and value: `str`, `int` as decimal text, `float`, `uuid` as canonical text."""

ORIGIN: Final = "http://plugin.invalid"
"""What werkzeug puts before the path of a redirect; taken off again."""


@dataclass(frozen=True, slots=True)
class Match:
    """The endpoint of a request, and the values from its path in the order of the rule."""

    endpoint: Endpoint
    values: tuple[PathValue, ...]


@dataclass(frozen=True, slots=True)
class NotFound:
    """No endpoint has this path."""


@dataclass(frozen=True, slots=True)
class MethodNotAllowed:
    """Endpoints have this path, but for other methods: these, sorted."""

    allow: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Redirect:
    """The same request is at home under another path.

    Attributes:
        path: That path, percent-decoded as it was given, from the slash on; without the prefix of the hook.
    """

    path: str


Routed = Match | NotFound | MethodNotAllowed | Redirect

NOT_FOUND: Final = NotFound()


def dify_text(failure: NotFound | MethodNotAllowed | Redirect, home: str) -> str:
    """Say that no endpoint serves a request, as Dify's SDK says it with its 404.

    Args:
        failure: Why there is none.
        home: Where a redirect leads to; for others of no account.
    """
    error: HTTPException
    match failure:
        case NotFound():
            error = WerkzeugNotFound()
        case MethodNotAllowed():
            error = WerkzeugMethodNotAllowed()
        case Redirect():
            error = RequestRedirect(home)
    return f"Failed to dispatch endpoint request: {error}"


class Router:
    """Finds endpoints.

    Args:
        endpoints: Of one plugin, in order of declaration; as they come from `load_plugin`.
        mode: Whose order of precedence holds.
    """

    def __init__(self, endpoints: Iterable[Endpoint], mode: Mode = "http") -> None:
        ordered = list(endpoints)
        if mode == "http":
            ordered.sort(key=lambda endpoint: endpoint.method != "HEAD")
        rules = [BoundedRule(item.path, endpoint=item, methods=[item.method]) for item in ordered]
        self._adapter = create_map(rules).bind("plugin.invalid")
        self._match = self._adapter.match

    def match(self, method: str, path: str) -> Routed:
        """Find the endpoint of a request.

        Args:
            method: In capitals.
            path: What follows the hook in the URL, percent-decoded, from the slash on.
        """
        try:
            endpoint, values = self._match(path, method)
        except RequestRedirect as redirect:
            return Redirect(unquote(redirect.new_url.removeprefix(ORIGIN)))
        except WerkzeugMethodNotAllowed as refusal:
            return MethodNotAllowed(tuple(sorted(refusal.valid_methods or ())))
        except (HTTPException, ValueError):
            return NOT_FOUND
        return Match(endpoint, _convert(values) if values else ())


def _convert(values: Mapping[str, object]) -> tuple[PathValue, ...]:
    return tuple(_convert_value(name, value) for name, value in values.items())


def _convert_value(name: str, value: object) -> PathValue:
    if isinstance(value, int):
        return (name, "int", str(value))
    if isinstance(value, float):
        return (name, "float", value)
    if isinstance(value, UUID):
        return (name, "uuid", str(value))
    return (name, "str", str(value))

"""Finding the endpoint of a request, with werkzeug's routing as the contract demands.

Two modes. `http` (the default) gives real answers: 404, 405 with the methods that would do, and a redirect where a
slash is missing at the end or doubled inside. `dify` turns every failure into 404, as Dify does. In `http` mode an
endpoint declared for HEAD comes before the HEAD that every GET brings along; in `dify` mode the first one declared
wins, as in Dify.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed
from werkzeug.routing import RequestRedirect

from executor.catalog.endpoint import Endpoint
from executor.catalog.rules import BoundedRule, create_map

__all__ = ["Match", "MethodNotAllowed", "Mode", "NotFound", "PathValue", "Redirect", "Routed", "Router"]

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
        path: That path, percent-encoded, from the slash on; without the prefix of the hook and without a query.
    """

    path: str


Routed = Match | NotFound | MethodNotAllowed | Redirect

NOT_FOUND: Final = NotFound()


class Router:
    """Finds endpoints.

    Args:
        endpoints: Of one plugin, in order of declaration; as they come from `load_plugin`.
        mode: How failures are answered.
    """

    def __init__(self, endpoints: Iterable[Endpoint], mode: Mode = "http") -> None:
        self._real = mode == "http"
        ordered = list(endpoints)
        if self._real:
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
            return Redirect(redirect.new_url.removeprefix(ORIGIN)) if self._real else NOT_FOUND
        except WerkzeugMethodNotAllowed as refusal:
            return MethodNotAllowed(tuple(sorted(refusal.valid_methods or ()))) if self._real else NOT_FOUND
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

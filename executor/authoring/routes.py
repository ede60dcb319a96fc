"""The endpoints of a plugin, told to somebody who asked for one that is not there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Final

from executor.catalog.endpoint import Endpoint
from executor.catalog.routing import Match, MethodNotAllowed, Redirect, Router

__all__ = ["explain_failure", "list_endpoints"]

CLOSE: Final = 0.6
"""How alike two paths must be, from 0 to 1, for one to be meant by the other."""

_VARIABLE: Final = re.compile(r"<[^>]*>")


def explain_failure(router: Router, endpoints: Sequence[Endpoint], method: str, path: str) -> list[str]:
    """Say why no endpoint serves a request, and what may have been meant.

    Returns:
        Lines for people; nothing when an endpoint serves it.
    """
    routed = router.match(method, path)
    if isinstance(routed, Match):
        return []
    if isinstance(routed, Redirect):
        return [f"308: the service redirects to {routed.path}; call that path"]
    if isinstance(routed, MethodNotAllowed):
        return [f"405: {path} does not take {method}; it takes {', '.join(routed.allow)}", *list_endpoints(endpoints)]
    near = _near_misses(endpoints, method, path)
    hints = [f"Did you mean {near[0]}?"] if near else []
    return [f"404: no endpoint has the path {path}", *hints, *list_endpoints(endpoints)]


def list_endpoints(endpoints: Iterable[Endpoint]) -> list[str]:
    """List methods and paths, aligned, under a line of their own."""
    rows = [(endpoint.method, endpoint.path) for endpoint in endpoints]
    width = max((len(method) for method, _ in rows), default=0)
    return ["The endpoints are:", *(f"  {method:<{width}}  {path}" for method, path in rows)]


def _near_misses(endpoints: Iterable[Endpoint], method: str, path: str) -> list[str]:
    """Find endpoints whose path is like this one, those with the same method first."""
    plain = path.rstrip("/").lower() or "/"
    scored = []
    for endpoint in endpoints:
        score = _likeness(endpoint.path, plain)
        if score >= CLOSE:
            scored.append((score + 0.1 * (endpoint.method == method), f"{endpoint.method} {endpoint.path}"))
    return [text for _, text in sorted(scored, reverse=True)]


def _likeness(rule: str, path: str) -> float:
    """Compare a rule with a path, part by part: a variable is like anything."""
    rules, parts = rule.rstrip("/").lower().split("/"), path.split("/")
    if len(rules) != len(parts):
        return difflib.SequenceMatcher(None, _VARIABLE.sub("", rule.lower()), path).ratio()
    scores = [
        1.0 if _VARIABLE.search(one) and other else difflib.SequenceMatcher(None, one, other).ratio()
        for one, other in zip(rules[1:], parts[1:], strict=True)
    ]
    return min(scores, default=0.0)

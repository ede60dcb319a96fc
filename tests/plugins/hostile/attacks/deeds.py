"""Attacks that are judged from outside as well: by how their request ends, and by what is left of it.

They may never return, so they are not in the table of attacks that the tests go through one by one. What a deed
returns in words is what it got, as with an attack; a deed may also return a response of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from werkzeug import Response

from attacks import Attack, Proof

__all__ = ["DEEDS", "Deed", "deed", "perform"]


class Deed(Attack):
    """An attack; see there.

    Attributes:
        by_groups: Whether nothing but control groups bounds it. Where the host has none, it is not contained.
    """

    by_groups = False


DEEDS: dict[tuple[str, str], Deed] = {}
"""All deeds of the modules that were imported, by area and name."""


def deed(tries: str, *, proof: Proof, ends: tuple[str, ...] = (), by_groups: bool = False) -> Callable:
    """Put a function into the table."""

    def register(function: Callable) -> Callable:
        area, name = function.__module__.rpartition(".")[2], function.__name__
        one = Deed(area, name, tries, proof, ends, (), function)
        object.__setattr__(one, "by_groups", by_groups)
        DEEDS[area, name] = one
        return function

    return register


def perform(area: str, name: str, target: dict) -> Response:
    """Do it; the answer is the deed's own response, or JSON as an attack gives it."""
    try:
        got = DEEDS[area, name].function(target)
    except (OSError, MemoryError, RuntimeError, ValueError) as error:
        return Response(json.dumps({"escaped": False, "detail": f"{type(error).__name__}: {error}"[:2000]}))
    if isinstance(got, Response):
        return got
    return Response(json.dumps({"escaped": bool(got), "detail": str(got or "nothing")[:2000]}))

"""Endpoints as commands of curl, made to be copied: every one of them works as it stands."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Final

from executor.catalog.endpoint import Endpoint
from executor.catalog.rules import PIECE

__all__ = ["curl_commands"]

EXAMPLES: Final = {"int": "1", "float": "1.5", "path": "a/b", "uuid": "00000000-0000-0000-0000-000000000000"}
"""A value for each converter; for a text, the name of its variable."""

OPTIONS: Final = {
    "GET": "",
    "HEAD": " -I",
    "POST": " --json '{}'",
    "PUT": " -X PUT --json '{}'",
    "PATCH": " -X PATCH --json '{}'",
}


def curl_commands(endpoints: Iterable[Endpoint], base: str) -> list[str]:
    """Write a command for each endpoint.

    Args:
        endpoints: Of a plugin.
        base: URL of the hook, without a slash at the end.
    """
    return [
        f"curl -N{OPTIONS.get(endpoint.method, f' -X {endpoint.method}')} {shlex.quote(base + _example(endpoint.path))}"
        for endpoint in endpoints
    ]


def _example(rule: str) -> str:
    """Fill values into a rule."""
    path = ""
    for match in PIECE.finditer(rule):
        if match["variable"] is None:
            path += match[0]
        elif match["converter"] == "any":
            path += (match["arguments"] or "").split(",")[0].strip(" '\"")
        else:
            path += EXAMPLES.get(match["converter"] or "", match["variable"])
    return path

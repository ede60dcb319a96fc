"""Cross-origin requests from browsers (the Fetch standard's CORS protocol), for endpoints that do not do it themselves.

Off unless configured. An endpoint that declares `OPTIONS` answers its own preflights.
"""

from __future__ import annotations

from executor.config.model import Cors
from executor.http.answers import Answer
from executor.http.asgi import Scope

__all__ = ["CorsPolicy"]


class CorsPolicy:
    """Answers preflights and marks responses, by the configured rules.

    Args:
        cors: The configuration; `None` for a policy that does nothing.
    """

    def __init__(self, cors: Cors | None) -> None:
        self._cors = cors
        self._origins = frozenset(cors.origins) if cors else frozenset[str]()

    def response_headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Return the headers that let a page of an allowed origin read the response to this request."""
        origin = _header(scope, b"origin")
        if self._cors is None or not origin or not self._allows(origin):
            return []
        headers = self._origin_headers(origin)
        if self._cors.expose:
            headers.append((b"access-control-expose-headers", _join(self._cors.expose)))
        return headers

    def preflight(self, scope: Scope, methods: tuple[str, ...]) -> Answer | None:
        """Answer a preflight for a path that serves `methods`; `None` when this is none, or is not allowed.

        `response_headers` belong to this answer as to every other.
        """
        origin = _header(scope, b"origin")
        wanted = _header(scope, b"access-control-request-method")
        if self._cors is None or scope["method"] != "OPTIONS" or not wanted or not self._allows(origin):
            return None
        if wanted not in methods:
            return None
        headers = [(b"access-control-allow-methods", _join(methods))]
        allowed = _join(self._cors.headers)
        if allowed == b"*":
            allowed = _header(scope, b"access-control-request-headers").encode("latin-1")
        if allowed:
            headers.append((b"access-control-allow-headers", allowed))
        headers.append((b"access-control-max-age", b"%d" % self._cors.max_age))
        return Answer(204, b"", headers)

    def _allows(self, origin: str) -> bool:
        return bool(origin) and ("*" in self._origins or origin in self._origins)

    def _origin_headers(self, origin: str) -> list[tuple[bytes, bytes]]:
        if "*" in self._origins:
            return [(b"access-control-allow-origin", b"*")]
        headers = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]
        if self._cors is not None and self._cors.credentials:
            headers.append((b"access-control-allow-credentials", b"true"))
        return headers


def _header(scope: Scope, wanted: bytes) -> str:
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return ""


def _join(names: tuple[str, ...]) -> bytes:
    return ", ".join(names).encode("latin-1", "replace")

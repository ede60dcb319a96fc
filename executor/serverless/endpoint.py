"""From a daemon's call to what a worker is told: the request as it was passed on, and nothing added.

The daemon has chosen already what an endpoint may see of a request, so headers are passed on, `Host`, `Dify-Hook-Id`,
`Dify-Hook-Url` and `X-Forwarded-Proto` with them. What belongs to a connection is dropped, and names that WSGI cannot
tell apart. A routing failure is a 404 with the words of Dify's SDK.
"""

from __future__ import annotations

import re
from typing import Final

from executor.catalog.routing import Match, MethodNotAllowed, NotFound, Redirect, dify_text
from executor.gateway.headers import HOP_BY_HOP
from executor.hooks import BoundHook
from executor.http.paths import quote_path
from executor.serverless.call import FunctionCall
from executor.serverless.errors import BadCallError
from executor.serverless.raw_request import RawRequest
from protocol.errors import LocalProtocolError
from protocol.messages import Invoke

__all__ = ["build_invoke", "routing_text", "split_host"]

DROPPED: Final = HOP_BY_HOP | {b"expect", b"content-length"}
HTTP_PORT: Final = 80
MAX_PORT: Final = 65_535
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)


def build_invoke(
    request: RawRequest, call: FunctionCall, match: Match, hook: BoundHook, *, invocation_id: str, debug: bool
) -> Invoke:
    """Say what the worker is told.

    Raises:
        BadCallError: The worker cannot be told so; a setting is not plain data, or something is too large.
    """
    host = (request.header(b"host") or b"").decode("latin-1")
    name, port = split_host(host)
    headers = [(name, value) for name, value in request.headers if name not in DROPPED and b"_" not in name]
    framed = request.chunked or request.header(b"content-length") is not None
    try:
        return Invoke(
            invocation_id=invocation_id,
            source=match.endpoint.source,
            method=request.method,
            scheme="http",
            server_name=name,
            server_port=port,
            root_path="",
            path=request.path,
            query=request.query,
            http_version="1.1",
            headers=tuple(headers),
            remote_addr=None,
            values=match.values,
            settings=call.settings,
            hook_id=hook.hook_id,
            content_length=len(request.body) if framed else None,
            has_body=bool(request.body),
            debug=debug,
        )
    except LocalProtocolError as error:
        raise BadCallError(f"the call cannot be passed on: {error}") from error


def routing_text(request: RawRequest, failure: NotFound | MethodNotAllowed | Redirect) -> str:
    """Say that no endpoint serves a request; of a redirect the whole address, as the daemon would be sent there."""
    if not isinstance(failure, Redirect):
        return dify_text(failure, "")
    host = (request.header(b"host") or b"").decode("latin-1")
    query = f"?{request.query.decode('latin-1')}" if request.query else ""
    return dify_text(failure, f"http://{host}{quote_path(failure.path)}{query}")


def split_host(host: str) -> tuple[str, int]:
    """Divide what a `Host` header says into a name and a port, 80 where it has none that is one."""
    name, colon, port = host.rpartition(":")
    if colon and _PORT.fullmatch(port) and int(port) <= MAX_PORT and not name.endswith(":"):
        return name, int(port)
    return host, HTTP_PORT

"""Requests to a server of others: bounded, never redirected, and over when whoever waits for them goes away.

The environment has no say: proxies and certificates are those of the configuration. A message for the author of a
plugin names the server and the cause, never an address or a key of the operator; those are in the exception's cause.
"""

from __future__ import annotations

import os
import ssl
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, final
from urllib.parse import urlsplit

import httpx
import structlog

from executor.config.peer import Peer
from executor.config.units import format_duration
from executor.reverse.call import CallFailedError
from executor.reverse.targets.answer import Answer
from executor.reverse.targets.failures import CONNECTION, UNAVAILABLE, shorten
from executor.version import __version__

__all__ = ["FormFile", "HttpPeer"]

log = structlog.get_logger("executor.reverse")

CONNECTIONS: Final = 512
"""Requests to one server at the same time; the broker's own limits are lower."""

IDLE_CONNECTIONS: Final = 32
IDLE_TIME_S: Final = 1.5
"""How long a connection is kept for the next request: less than what servers keep one (gunicorn: 2 s, uvicorn: 5 s), so
that no request is sent on one that the server is just closing."""

SECRETS: Final = frozenset({"Authorization", "X-Inner-Api-Key", "Dify-Plugin-Session-ID"})
"""Headers whose values no message may have, though servers repeat them."""

FormFile = tuple[str, bytes, str]
"""A file of a form: name, content, media type."""


@final
class HttpPeer:
    """A server of others.

    Args:
        name: Who it is, for messages, such as `Dify`.
        settings: How long and how much is waited for, and the way there.
    """

    def __init__(self, name: str, settings: Peer) -> None:
        self.name = name
        self._settings = settings
        self._client = httpx.AsyncClient(
            headers={"User-Agent": f"endpoint-executor/{__version__}", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(
                connect=settings.connect_time,
                write=settings.write_time,
                read=settings.read_time,
                pool=settings.connect_time,
            ),
            limits=httpx.Limits(
                max_connections=CONNECTIONS,
                max_keepalive_connections=IDLE_CONNECTIONS,
                keepalive_expiry=IDLE_TIME_S,
            ),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # calls have nothing in common
            verify=ssl.create_default_context(cafile=settings.ca_file)
            if settings.ca_file
            else _browsers_certificates(),
            proxy=settings.proxy,
            trust_env=False,
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def post(
        self,
        url: str,
        content: bytes | None = None,
        *,
        form: Mapping[str, str] | None = None,
        files: Mapping[str, FormFile] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Answer]:
        """Send a request, and give its answer when the head has come. Leaving the block ends the request.

        Args:
            url: Whole.
            content: A body of JSON.
            form: Fields of a form instead.
            files: Files of that form.
            headers: Further fields.

        Raises:
            CallFailedError: There was no answer, or no more of it; also where the block reads from the answer.
        """
        request_id = uuid.uuid4().hex
        kind = {"Content-Type": "application/json"} if content is not None else {}
        fields = {"X-Request-Id": request_id, **kind, **(headers or {})}
        sizes = {"part_size": self._settings.part_size, "answer_size": self._settings.answer_size}
        try:
            request = self._client.build_request("POST", url, content=content, data=form, files=files, headers=fields)
            response = await self._client.send(request, stream=True)
            try:
                secrets = [value.rpartition(" ")[2] for name, value in (headers or {}).items() if name in SECRETS]
                yield Answer(response, self.name, request_id=request_id, secrets=secrets, **sizes)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            text, error_type = self._explain(error)
            log.warning(
                "reverse.no_answer",
                server=self.name,
                at=_origin(url),
                reason=text,
                cause=repr(error),
                request_id=request_id,
            )
            raise CallFailedError(f"{self.name} {text} (request id {request_id})", error_type) from error

    def _explain(self, error: httpx.HTTPError | httpx.InvalidURL) -> tuple[str, str]:
        """Say what went wrong, and what the SDK calls it."""
        settings = self._settings
        match error:
            case httpx.ConnectTimeout():
                return f"could not be reached within {format_duration(settings.connect_time)}", CONNECTION
            case httpx.PoolTimeout():
                return f"has too many requests of ours already ({CONNECTIONS})", CONNECTION
            case httpx.WriteTimeout():
                return f"took no more of the request for {format_duration(settings.write_time)}", CONNECTION
            case httpx.ReadTimeout():
                return f"sent nothing for {format_duration(settings.read_time)}", UNAVAILABLE
            case httpx.ProxyError():
                return "could not be reached through the proxy", CONNECTION
            case httpx.ConnectError():
                return f"could not be reached: {_cause(error)}", CONNECTION
            case httpx.RemoteProtocolError() | httpx.ReadError() | httpx.WriteError():
                return f"broke the connection off: {_cause(error)}", CONNECTION
        return f"could not be asked: {type(error).__name__}", CONNECTION


def _origin(url: str) -> str:
    """Take what may be logged of a URL: paths and queries may have signatures in them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@cache
def _browsers_certificates() -> ssl.SSLContext:
    """Read the certificates that browsers trust; it takes a tenth of a second, so once for all."""
    return httpx.create_ssl_context(trust_env=False)


def _cause(error: Exception) -> str:
    """Take the innermost reason, such as `connection refused`, without addresses."""
    inner: BaseException = error
    while (next_one := inner.__cause__ or inner.__context__) is not None:
        inner = next_one
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate was not accepted, {inner.verify_message}"
    if isinstance(inner, ssl.SSLError) and inner.reason:
        return shorten(inner.reason.lower().replace("_", " "))
    if isinstance(inner, OSError):
        return os.strerror(inner.errno).lower() if inner.errno and inner.errno > 0 else "no such host"
    return shorten(str(inner)) or type(inner).__name__

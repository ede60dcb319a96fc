"""The request that an endpoint gets: a true `werkzeug.Request`, its body read from the channel."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from werkzeug.datastructures import Headers, ImmutableHeadersMixin
from werkzeug.exceptions import BadRequestKeyError
from werkzeug.wrappers import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from protocol import Invoke, PathValue

__all__ = ["BodySource", "RequestHeaders", "convert_values", "make_environ", "make_request"]

BUFFER_SIZE: Final = 65_536
"""Bytes of the body read ahead of the endpoint, besides what the protocol's credit allows."""

OWN_VARIABLES: Final = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})
"""Headers that WSGI keeps without the prefix `HTTP_`, by PEP 3333 and RFC 3875 section 4.1."""

DROPPED: Final = frozenset({"content-length", "transfer-encoding"})
"""Headers about the transfer, which ended at the server: the length known for sure comes with INVOKE."""


class BodySource(Protocol):
    """Where the bytes of a request body come from."""

    def read_body(self, size: int) -> bytes:
        """Wait for 1..size bytes; none at the end."""


class RequestHeaders(ImmutableHeadersMixin, Headers):  # type: ignore[misc]  # as werkzeug's own EnvironHeaders
    """The headers of a request, in order, with every repeated field.

    `getlist` returns the values of a repeated field one by one; indexing and `get` return them joined, as they are in
    a WSGI environment. Names are written as there, too: `X-Hub-Signature`.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__()
        self._list = [(name.title(), value) for name, value in pairs]

    def _get_key(self, key: str) -> str:
        values = self.getlist(key)
        if not values:
            raise BadRequestKeyError(key)
        return values[0] if len(values) == 1 else _join(key, values)

    def copy(self) -> NoReturn:
        """Refuse, as the headers of every werkzeug request do."""
        raise TypeError(f"cannot create {type(self).__name__!r} copies")


class _BodyStream(io.RawIOBase):
    """The body as a raw stream; it is wrapped into a buffered one."""

    def __init__(self, source: BodySource) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read_body(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def make_request(invoke: Invoke, source: BodySource) -> Request:
    """Build the request of an invocation.

    Args:
        invoke: Its head.
        source: Its body, read only when the endpoint reads it.
    """
    headers = _read_headers(invoke)
    request = Request(make_environ(invoke, headers, source))
    request.headers = RequestHeaders(headers)
    return request


def make_environ(invoke: Invoke, headers: list[tuple[str, str]], source: BodySource) -> dict[str, Any]:
    """Build the WSGI environment of PEP 3333.

    Args:
        invoke: The head of the request.
        headers: Names and values, as latin-1 text. Repeated fields are joined here.
        source: The body.
    """
    environ: dict[str, Any] = {
        "REQUEST_METHOD": invoke.method,
        "SCRIPT_NAME": _wsgi_text(invoke.root_path),
        "PATH_INFO": _wsgi_text(invoke.path),
        "QUERY_STRING": invoke.query.decode("latin-1"),
        "SERVER_NAME": invoke.server_name,
        "SERVER_PORT": str(invoke.server_port),
        "SERVER_PROTOCOL": f"HTTP/{invoke.http_version}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": invoke.scheme,
        "wsgi.input": _open_body(invoke, source),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": True,
    }
    if invoke.remote_addr is not None:
        environ["REMOTE_ADDR"] = invoke.remote_addr
    for name, values in _group(headers).items():
        variable = name.upper().replace("-", "_")
        environ[variable if variable in OWN_VARIABLES else f"HTTP_{variable}"] = _join(name, values)
    return environ


def convert_values(values: Iterable[PathValue]) -> dict[str, Any]:
    """Return the path values with the types that the router's converters give: str, int, float, UUID."""
    converters: dict[str, Callable[[Any], Any]] = {"str": str, "int": int, "float": float, "uuid": UUID}
    return {name: converters[kind](value) for name, kind, value in values}


def _read_headers(invoke: Invoke) -> list[tuple[str, str]]:
    """Decode the headers; names with `_` are left out, as WSGI servers do: they could pass for others with `-`."""
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in invoke.headers
        if b"_" not in name and name.lower().decode("latin-1") not in DROPPED
    ]
    length = invoke.content_length
    return headers if length is None else [*headers, ("Content-Length", str(length))]


def _group(headers: list[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in headers:
        grouped.setdefault(name.lower(), []).append(value)
    return grouped


def _join(name: str, values: list[str]) -> str:
    return ("; " if name.lower() == "cookie" else ",").join(values)


def _open_body(invoke: Invoke, source: BodySource) -> io.BufferedIOBase:
    return io.BufferedReader(_BodyStream(source), BUFFER_SIZE) if invoke.has_body else io.BytesIO()


def _wsgi_text(text: str) -> str:
    """Return a text as PEP 3333 wants it: its UTF-8 bytes, each as one latin-1 character."""
    return text.encode().decode("latin-1")

"""Reading the HTTP request that a daemon passes on as text: hostile as any other, and whole.

h11 reads it, which accepts no more than RFC 9112 does. Beyond that nothing is taken that two readers could read
differently: two framings, a second request behind the first, another version. Go writes an empty body as one empty
chunk; here it is an empty body.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import h11

from executor.serverless.errors import BadCallError

__all__ = ["RawRequest", "RawRequestLimits", "read_raw_request"]

CHUNKS: Final = 4096
"""Chunks of a body. Go writes 32 KiB in each, so a body of 5 MiB has 160."""

MAX_METHOD: Final = 64


@dataclass(frozen=True, slots=True)
class RawRequestLimits:
    """How large the head may be.

    Attributes:
        url_size: Bytes of the request target. Over it: 414.
        header_size: Bytes of all names and values. Over it: 431.
        header_count: Header fields. Over it: 431.
    """

    url_size: int
    header_size: int
    header_count: int


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request for an endpoint.

    Attributes:
        method: As sent.
        path: Percent-decoded, from the slash on.
        query: As sent, without `?`.
        headers: Pairs with names in lower case, in order, all of them.
        body: Without its chunks.
        chunked: Whether it came in chunks.
    """

    method: str
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes = field(repr=False)
    chunked: bool

    def header(self, wanted: bytes) -> bytes | None:
        """Return the last value of a header."""
        return next((value for name, value in reversed(self.headers) if name == wanted), None)


def read_raw_request(data: bytes, limits: RawRequestLimits) -> RawRequest:
    """Read a whole request.

    Raises:
        BadCallError: It is not exactly one request of HTTP/1.1, or its head is over a limit.
    """
    # h11 bounds only what is incomplete; what is complete is bounded below
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=max(len(data), 1))
    connection.receive_data(data)
    connection.receive_data(b"")
    try:
        request = connection.next_event()
        if not isinstance(request, h11.Request):
            raise BadCallError("raw_http_request: expected a request of HTTP/1.1, found nothing")
        _check_head(request, limits)
        body = _read_body(connection)
    except h11.RemoteProtocolError as error:
        raise BadCallError(f"raw_http_request: {error}") from error
    if connection.trailing_data[0]:
        raise BadCallError("raw_http_request: expected one request, found more behind it")
    raw_path, _, query = request.target.partition(b"?")
    return RawRequest(
        method=request.method.decode("ascii"),
        path=unquote(raw_path.decode("ascii")),
        query=query,
        headers=tuple(request.headers),
        body=body,
        chunked=any(name == b"transfer-encoding" for name, _ in request.headers),
    )


def _check_head(request: h11.Request, limits: RawRequestLimits) -> None:
    headers = list(request.headers)
    names = [name for name, _ in headers]
    if request.http_version != b"1.1":
        raise BadCallError(f"raw_http_request: expected HTTP/1.1, found {request.http_version.decode('ascii')}")
    if len(request.method) > MAX_METHOD:
        raise BadCallError(f"raw_http_request: a method of {len(request.method)} bytes, at most {MAX_METHOD}")
    if not request.target.startswith(b"/"):
        raise BadCallError("raw_http_request: expected a path that begins with a slash")
    if len(request.target) > limits.url_size:
        raise BadCallError(f"the URL has {len(request.target)} bytes, at most {limits.url_size} (http.url_size)", 414)
    size = sum(len(name) + len(value) for name, value in headers)
    if size > limits.header_size:
        raise BadCallError(f"the headers have {size} bytes, at most {limits.header_size} (http.header_size)", 431)
    if len(headers) > limits.header_count:
        raise BadCallError(f"{len(headers)} headers, at most {limits.header_count} (http.header_count)", 431)
    if b"content-length" in names and b"transfer-encoding" in names:
        raise BadCallError("raw_http_request: both Content-Length and Transfer-Encoding")


def _read_body(connection: h11.Connection) -> bytes:
    pieces: list[bytes] = []
    while True:
        event = connection.next_event()
        if isinstance(event, h11.EndOfMessage):
            return b"".join(pieces)
        if not isinstance(event, h11.Data):
            raise BadCallError("raw_http_request: the request is not complete")
        pieces.append(bytes(event.data))
        if len(pieces) > CHUNKS:
            raise BadCallError(f"raw_http_request: more than {CHUNKS} chunks")

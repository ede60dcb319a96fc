"""A request as it is written on a command line, made into what the gateway gets from a connection.

The words are those of curl. What the service would refuse before an endpoint sees it is refused here, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, quote_plus, unquote

from executor.config.model import HttpLimits
from executor.errors import ExecutorError
from executor.gateway.request_head import find_fault
from executor.version import __version__

__all__ = [
    "FORM",
    "PIECE",
    "Body",
    "Readable",
    "Request",
    "RequestError",
    "build_request",
    "check_request",
    "read_body",
]

FORM: Final = "application/x-www-form-urlencoded"
HOST: Final = "localhost"
PIECE: Final = 64 * 1024

_METHOD: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNQUOTED: Final = "%!$&'()*+,;=:@-._~/?[]"
"""What stays as it is in a path or query; all else is percent-encoded."""


class RequestError(ExecutorError):
    """The request cannot be made; the text says why."""

    code = "call.request"


class Readable(Protocol):
    """Something that is read without a buffer: what is there is returned as soon as it is there."""

    def read(self, size: int, /) -> bytes:
        """Read up to so many bytes; nothing at the end."""

    def close(self) -> None:
        """Read no more."""

    @property
    def closed(self) -> bool:
        """Whether it is."""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request.

    Attributes:
        open: Opens what it is read from.
        length: In bytes; `None` when that is not known before.
    """

    open: Callable[[], Readable]
    length: int | None


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Attributes:
        method: In capitals.
        path: Percent-decoded, from the slash on.
        target: Path and query as they would be sent.
        headers: Pairs, names in lower case.
        body: Its body; `None` when it has none.
    """

    method: str
    path: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: Body | None

    def scope(self, prefix: str) -> dict[str, Any]:
        """Make the scope of an ASGI connection, with a prefix that stands before the path in the URL."""
        raw_path, _, query = self.target.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": prefix + self.path,
            "raw_path": (prefix + raw_path).encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": list(self.headers),
            "client": ("127.0.0.1", 0),
            "server": (HOST, 80),
        }


def build_request(
    method: str,
    target: str,
    *,
    headers: Sequence[str],
    query: Sequence[str],
    body: Body | None,
    content_type: str = FORM,
) -> Request:
    """Make a request of the words of a command line.

    Args:
        method: Such as `GET`, in any case.
        target: Path with or without a query, with or without percent-encoding.
        headers: `Name: value`; `Name:` leaves a header out that is sent by default.
        query: `NAME=VALUE`, to be encoded.
        body: Its body.
        content_type: Said of a body unless the headers say something else.

    Raises:
        RequestError: It is not a request.
    """
    if not _METHOD.fullmatch(method):
        raise RequestError(f"the method must be a word such as GET or POST, not {method[:40]!r}")
    if not target.startswith("/"):
        raise RequestError(
            f"the path must begin with a slash, such as /{target[:80].lstrip('/')}; found {target[:80]!r}"
        )
    encoded = quote(target.partition("#")[0], safe=_UNQUOTED)
    added = "&".join(_encode_pair(pair) for pair in query)
    if added:
        encoded += ("&" if "?" in encoded else "?") + added
    return Request(
        method=method.upper(),
        path=unquote(encoded.partition("?")[0]),
        target=encoded,
        headers=tuple(_all_headers(headers, body, content_type)),
        body=body,
    )


def check_request(request: Request, limits: HttpLimits) -> None:
    """Refuse what the service's own connections refuse.

    Raises:
        RequestError: The request would get 400, 414, 431 or 501.
    """
    size = sum(len(name) + len(value) for name, value in request.headers)
    if len(request.target) > limits.url_size:
        raise RequestError(
            f"414: the path and query have {len(request.target)} bytes (http.url_size {limits.url_size})"
        )
    if len(request.headers) > limits.header_count:
        raise RequestError(f"431: there are {len(request.headers)} headers (http.header_count {limits.header_count})")
    if size > limits.header_size:
        raise RequestError(f"431: the headers have {size} bytes (http.header_size {limits.header_size})")
    fault = find_fault("1.1", request.method.encode(), request.headers)
    if fault:
        raise RequestError(f"{fault}: the service would refuse this request ({HTTPStatus(fault).phrase})")


def read_body(text: str) -> Body:
    """Make a body of what an option says: the text itself, `@FILE`, or `@-` or `-` for standard input.

    Raises:
        RequestError: The file cannot be read.
    """
    if text in {"-", "@-"}:
        return Body(lambda: open(0, "rb", buffering=0, closefd=False), None)
    if not text.startswith("@"):
        data = text.encode("utf-8", "surrogateescape")
        return Body(lambda: BytesIO(data), len(data))
    path = Path(text[1:])
    try:
        with path.open("rb"):
            return Body(lambda: path.open("rb", buffering=0), path.stat().st_size if path.is_file() else None)
    except OSError as error:
        raise RequestError(f"the body cannot be read from {path}: {(error.strerror or str(error)).lower()}") from error


def _encode_pair(pair: str) -> str:
    name, equals, value = pair.partition("=")
    return quote_plus(name) + (f"={quote_plus(value)}" if equals else "")


def _all_headers(given: Sequence[str], body: Body | None, content_type: str) -> Iterator[tuple[bytes, bytes]]:
    """List the headers that curl would send: the defaults that are not given, then those that are."""
    defaults = {"host": HOST, "user-agent": f"endpoint-executor/{__version__}", "accept": "*/*"}
    if body is not None:
        defaults["content-type"] = content_type
    parsed = [_parse_header(text) for text in given]
    said = {name for name, _ in parsed}
    for name, value in defaults.items():
        if name not in said:
            yield name.encode(), value.encode()
    for name, text in parsed:
        if text is not None:
            yield name.encode(), text
    if body is not None and not said & {"content-length", "transfer-encoding"}:
        yield (b"transfer-encoding", b"chunked") if body.length is None else (b"content-length", b"%d" % body.length)


def _parse_header(text: str) -> tuple[str, bytes | None]:
    name, colon, value = text.partition(":")
    empty = not colon and name.endswith(";")
    name = name.removesuffix(";") if empty else name
    if not (colon or empty) or not _NAME.fullmatch(name):
        raise RequestError(f"a header is written 'Name: value', or 'Name;' for an empty one; found {text[:80]!r}")
    value = value.strip(" \t")
    if _CONTROL.search(value):
        raise RequestError(f"the header {name} has control characters in its value")
    if not value and not empty:
        return name.lower(), None
    try:
        return name.lower(), value.encode("latin-1")
    except UnicodeEncodeError:
        return name.lower(), value.encode("utf-8", "surrogateescape")

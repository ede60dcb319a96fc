"""What an endpoint returned, as a head and pieces of a body.

The rules: a text or bytes, a list or a tuple is one body of known length; anything else that can be iterated is sent
item by item as it is produced. HEAD, 204, 205 and 304 have no body. The length in the head is the real one where it is
known and absent where it is not; only the answer to a HEAD may announce a length that is not checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response
from werkzeug.wsgi import FileWrapper

from protocol import MAX_DATA, LocalProtocolError
from protocol import Response as Head

__all__ = ["Answer", "ResponseError", "read_response"]

BODILESS: Final = frozenset({204, 205, 304})
WITHOUT_LENGTH: Final = frozenset({204, 205})
CONTENT_LENGTH: Final = "Content-Length"


class ResponseError(Exception):
    """The endpoint did not return a response that could be sent; the text says what it returned and what was due."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, ready to be sent.

    Attributes:
        head: The message that begins it.
        body: Pieces of 1..MAX_DATA bytes. Iterating runs code of the endpoint, which may raise anything.
        whole: Whether all of the body is there already, and iterating runs none.
    """

    head: Head
    body: Iterator[bytes]
    whole: bool = True


def read_response(result: object, *, method: str, environ: dict[str, Any]) -> Answer:
    """Turn the return value of an endpoint into an answer. The caller closes the response.

    Args:
        result: What `_invoke` returned.
        method: Method of the request.
        environ: WSGI environment of the request, which werkzeug needs for some headers.

    Raises:
        ResponseError: Not a `werkzeug.Response`, or one whose status or headers HTTP does not allow.
    """
    if not isinstance(result, Response):
        raise ResponseError(f"returned {_describe(result)}; expected a werkzeug.Response")
    bodiless = method == "HEAD" or result.status_code in BODILESS
    content = _known_content(result.response)
    headers = result.get_wsgi_headers(environ)
    _set_length(headers, result, content, method)
    try:
        head = Head(status=result.status_code, headers=_encode_headers(headers))
    except LocalProtocolError as error:
        raise ResponseError(f"returned a response that HTTP does not allow: {error}") from None
    if bodiless:
        return Answer(head, iter(()))
    if content is not None:
        return Answer(head, _iter_pieces([content]))
    return Answer(head, _iter_pieces(result.response), whole=False)


def _describe(result: object) -> str:
    name = type(result).__name__
    hints = {
        "NoneType": "None (is a `return` missing?)",
        "coroutine": "a coroutine (`async def _invoke` is not supported)",
        "generator": "a generator (return Response(generator) to stream)",
    }
    return hints.get(name, f"an object of type {name}")


def _known_content(body: object) -> bytes | None:
    """Return the whole body where it is there already."""
    if isinstance(body, str | bytes | bytearray | memoryview):
        return _encode_item(body)
    if isinstance(body, list | tuple):
        return b"".join(map(_encode_item, body))
    return None


def _encode_item(item: object) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes | bytearray | memoryview):
        return bytes(item)
    raise TypeError(f"a response body may consist of str and bytes, not of {type(item).__name__}")


def _set_length(headers: Headers, response: Response, content: bytes | None, method: str) -> None:
    """State the real length; a length that the endpoint only claims is kept for HEAD alone."""
    if response.status_code in BODILESS:
        if response.status_code in WITHOUT_LENGTH:
            headers.remove(CONTENT_LENGTH)
        return
    length = len(content) if content is not None else _file_length(response.response)
    if length is not None:
        headers.set(CONTENT_LENGTH, str(length))
    elif method != "HEAD":
        headers.remove(CONTENT_LENGTH)


def _file_length(body: object) -> int | None:
    """Return how much is left to read of a seekable file in a file wrapper."""
    if not isinstance(body, FileWrapper) or not body.seekable():
        return None
    here = body.tell()
    if here is None:
        return None
    body.seek(0, 2)
    end = body.tell()
    body.seek(here)
    return None if end is None else max(0, end - here)


def _encode_headers(headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((_encode_text(name), _encode_text(value)) for name, value in headers)


def _encode_text(text: str) -> bytes:
    """Encode as latin-1, which is what HTTP has always meant; what does not fit goes as UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode(errors="replace")


def _iter_pieces(items: Iterable[object]) -> Iterator[bytes]:
    for item in items:
        data = item if type(item) is bytes else _encode_item(item)
        if len(data) <= MAX_DATA:
            if data:
                yield data
            continue
        for start in range(0, len(data), MAX_DATA):
            yield data[start : start + MAX_DATA]

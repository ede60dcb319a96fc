"""Header rules in both directions: what a plugin may see, and what it may say.

Lists of pairs end to end, so that repeated headers survive. Hop-by-hop headers (RFC 9110 section 7.6.1) belong to
the connection and are dropped both ways. `Dify-Hook-Id` and `Dify-Hook-Url` are ours to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from executor.gateway.origin import Origin
from executor.supervisor.client import NO_BODY_STATUSES

__all__ = [
    "HOP_BY_HOP",
    "HeaderPairs",
    "InvalidHeaderError",
    "PreparedHead",
    "expects_continue",
    "request_headers",
    "response_head",
]

HeaderPairs = Sequence[tuple[bytes, bytes]]

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

HIDDEN_FROM_PLUGINS: Final = frozenset(
    {
        b"x-forwarded-for",
        b"x-real-ip",
        b"x-forwarded",
        b"x-original-forwarded-for",
        b"x-original-url",
        b"x-original-host",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"expect",
        b"host",
        b"dify-hook-id",
        b"dify-hook-url",
    }
)
"""The daemon, or the nginx that Dify puts before it, takes these away before a plugin sees the request, or sets them;
`Expect` is answered by us, `Host` is said once, as the public side knows it."""

FORBIDDEN_IN_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
FORBIDDEN_IN_NAME: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")


OURS_TO_SAY: Final = frozenset({b"x-invocation-id"})
"""Headers of ours that an endpoint cannot say in our place."""


class InvalidHeaderError(ValueError):
    """A header that cannot be sent."""


@dataclass(frozen=True, slots=True)
class PreparedHead:
    """The head of a response, ready to be sent.

    Attributes:
        headers: What is sent.
        content_length: The declared length of the body in bytes, when it is one that can be believed.
    """

    headers: list[tuple[bytes, bytes]]
    content_length: int | None


def expects_continue(headers: HeaderPairs) -> bool:
    """Whether the client waits to be asked for the body (RFC 9110 section 10.1.1)."""
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)


def request_headers(
    headers: Iterable[tuple[bytes, bytes]], origin: Origin, *, hook_id: str, hook_url: str
) -> list[tuple[bytes, bytes]]:
    """Return the headers that the plugin sees: the client's, less what is hop-by-hop or hidden, plus ours.

    Names with an underscore are dropped: as a WSGI variable they could not be told from the name with a hyphen.
    """
    kept = [(b"host", origin.host.encode("latin-1", "replace"))]
    kept += [
        (name, value)
        for name, value in headers
        if name not in HOP_BY_HOP and name not in HIDDEN_FROM_PLUGINS and b"_" not in name
    ]
    kept.append((b"x-forwarded-proto", origin.scheme.encode()))
    kept.append((b"x-forwarded-port", b"%d" % origin.server_port))
    kept.append((b"dify-hook-id", hook_id.encode("ascii", "replace")))
    kept.append((b"dify-hook-url", hook_url.encode("ascii", "replace")))
    return kept


def response_head(status: int, headers: HeaderPairs) -> PreparedHead:
    """Check and filter the headers of a plugin's response.

    `Content-Length` is kept when it is one plain number and the status allows a body; otherwise the body's end is
    told by chunks. With 205 it is 0: some clients expect nothing behind the head, others go by how it is framed.

    Raises:
        InvalidHeaderError: A name is not a token, or a value has control characters.
    """
    kept: list[tuple[bytes, bytes]] = []
    lengths: list[bytes] = []
    for name, value in headers:
        lowered = name.lower()
        if FORBIDDEN_IN_NAME.search(name) or not name:
            raise InvalidHeaderError(f"header name {name[:80]!r} is not a token")
        if FORBIDDEN_IN_VALUE.search(value):
            raise InvalidHeaderError(f"header {name[:80]!r} has control characters in its value")
        if lowered == b"content-length":
            lengths.append(value.strip())
        elif lowered not in HOP_BY_HOP and lowered not in OURS_TO_SAY:
            kept.append((name, value))
    length = _length(status, lengths)
    if length is not None:
        kept.append((b"content-length", b"%d" % length))
    return PreparedHead(kept, length)


def _length(status: int, lengths: list[bytes]) -> int | None:
    if status in NO_BODY_STATUSES:
        return 0 if status == HTTPStatus.RESET_CONTENT else None
    if len(lengths) == 1 and lengths[0].isdigit() and len(lengths[0]) <= 15:  # noqa: PLR2004 - below 1 PB
        return int(lengths[0])
    return None

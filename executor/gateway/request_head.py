"""What a request's head must keep to beyond its syntax, so that nobody in front of us can read it differently.

Source: RFC 9112 sections 3.2 (Host), 6.1 (Transfer-Encoding) and 6.3 (message body length).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["body_framing", "find_fault"]

HOST: Final = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:%\[\]]{0,300}")
"""RFC 3986 section 3.2.2 with a port; a name of the DNS has at most 253 characters."""

Headers = Iterable[tuple[bytes, bytes]]


def find_fault(version: str, method: bytes, headers: Headers) -> int:
    """Look for what makes a request ambiguous, or something that is not served here.

    Args:
        version: Of HTTP, such as `1.1`.
        method: As sent.
        headers: Pairs with names in lower case.

    Returns:
        The status to refuse it with; 0 when all is well.
    """
    hosts = _values(headers, b"host")
    codings = _values(headers, b"transfer-encoding")
    if version not in {"1.0", "1.1"}:
        return 505
    if len(hosts) != 1 and not (version == "1.0" and not hosts):
        return 400
    if not all(HOST.fullmatch(host) for host in hosts):
        return 400
    if codings and version == "1.0":
        return 400
    if method == b"CONNECT" or (codings and [coding.lower() for coding in codings] != [b"chunked"]):
        return 501
    return 0


def body_framing(headers: Headers) -> bytes:
    """Return the lines of a head that tell where its body ends; nothing when there is no body."""
    if _values(headers, b"transfer-encoding"):
        return b"Transfer-Encoding: chunked\r\n"
    return b"".join(b"Content-Length: %s\r\n" % value for value in _values(headers, b"content-length") if int(value))


def _values(headers: Headers, wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name == wanted]

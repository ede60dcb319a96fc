"""Paths of URLs."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["quote_path"]


def quote_path(path: str) -> str:
    """Percent-encode all but what a path may have as it is (`pchar` and `/`, RFC 3986 section 3.3)."""
    return quote(path, safe="/!$&'()*+,;=:@-._~")

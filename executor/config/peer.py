"""What the configuration says about a server of others that the executor sends requests to."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field

from executor.config.section import Section
from executor.config.texts import FilePath, Text
from executor.config.units import Duration, Size

__all__ = ["BaseUrl", "Peer"]

MAX_URL: Final = 2048


def _base_url(text: str) -> str | None:
    """Take a URL that paths can be appended to: no credentials, query or fragment. A slash at the end is dropped."""
    parts = urlsplit(text)
    plain = parts.scheme in {"http", "https"} and parts.hostname and not parts.query and not parts.fragment
    if not plain or "@" in parts.netloc or len(text) > MAX_URL or not text.isascii() or not text.isprintable():
        return None
    if " " in text or "\\" in text or text.endswith(("?", "#")):
        return None
    return text.rstrip("/") if parts.port is None or parts.port > 0 else None


BaseUrl = Annotated[
    str, Text(_base_url, "a URL such as https://dify.example.org, without user name, query and fragment")
]


class Peer(Section):
    """A server that requests are sent to, and how long and how much is waited for."""

    ca_file: FilePath | None = Field(
        default=None,
        description="Certificates (PEM) that the server's is checked with. Not given: those that browsers trust.",
    )
    proxy: BaseUrl | None = Field(
        default=None,
        description="HTTP proxy for these requests. Not given: none, whatever `HTTPS_PROXY` in the environment says.",
    )
    connect_time: Annotated[float, Duration("10ms", "5m", "5s")] = Field(
        default=5.0, description="Longest wait for a connection."
    )
    write_time: Annotated[float, Duration("10ms", "5m", "5s")] = Field(
        default=5.0, description="Longest wait until the server takes more of a request."
    )
    read_time: Annotated[float, Duration("10ms", "1h", "240s")] = Field(
        default=240.0, description="Longest wait for the answer, and for more of it."
    )
    part_size: Annotated[int, Size("1 KiB", "256 MiB", "30 MiB")] = Field(
        default=30 * 1024**2, description="Largest answer, or part of an answer that is streamed."
    )
    answer_size: Annotated[int, Size("1 KiB", "4 GiB", "128 MiB")] = Field(
        default=128 * 1024**2, description="All parts of an answer together."
    )

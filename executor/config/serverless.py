"""The section `serverless`: Dify's serverless runtime interface."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from executor.config.confidential import Confidential
from executor.config.peer import BaseUrl
from executor.config.reverse_targets import DaemonSettings
from executor.config.section import Section
from executor.config.texts import HostName, Text
from executor.config.units import Count, Duration, Size
from executor.errors import number_of

__all__ = ["FUNCTION_PATH", "SHORTEST_KEY", "Serverless", "tell_short_key"]

FUNCTION_PATH: Final = "/f/"
"""What comes before the token in the path of a function."""

SHORTEST_KEY: Final = 16
"""Characters that a key must have. Whoever has it installs plugins; nobody guesses 16 random ones by HTTP."""

TOKEN_SIZE: Final = 32
MAX_FUNCTION_URL: Final = 255
"""Characters that the daemon keeps of a function's URL."""


def tell_short_key(size: int) -> str:
    """Say what is wrong with a key of so many characters, and what to do."""
    return (
        f"the key has {number_of(size, 'character')}, and whoever guesses it installs plugins; expected at least "
        f"{SHORTEST_KEY}: make one with `openssl rand -hex 32`, and give it to the daemon as "
        "DIFY_PLUGIN_SERVERLESS_CONNECTOR_API_KEY, too"
    )


_base: Final = next(item for item in BaseUrl.__metadata__ if isinstance(item, Text))  # type: ignore[attr-defined]


def _public_url(text: str) -> str | None:
    """Take a URL that the daemon can store and does not misread in a list of `name=value`."""
    url = _base.parse(text)
    if not isinstance(url, str) or len(url) + len(FUNCTION_PATH) + TOKEN_SIZE > MAX_FUNCTION_URL:
        return None
    return None if {"=", ","} & set(url) else url


class Serverless(Section):
    """Dify's serverless runtime interface, for a Dify daemon to install plugins: see [its page](serverless.md)."""

    host: HostName = Field(default="127.0.0.1", description="Address to listen on.")
    port: Annotated[int, Count(0, 65535)] = Field(default=8090, description="TCP port; 0 picks a free one.")
    key: Confidential = Field(
        description="What the daemon has to say: its own `DIFY_PLUGIN_SERVERLESS_CONNECTOR_API_KEY`. At least 16 "
        "characters, which nobody can guess: `openssl rand -hex 32` makes some."
    )
    url: Annotated[str, Text(_public_url, "a URL of at most 220 characters, without `=` and `,`")] | None = Field(
        default=None,
        description="Where the daemon reaches this listener. Not given: `http://`, `host` and `port`.",
    )
    daemon: DaemonSettings | None = Field(
        default=None,
        description="Where the daemon is, which answers reverse calls of the plugins that it calls here, and keeps "
        "what they store. Not given: they are answered as `reverse` says.",
    )
    request_size: Annotated[int, Size("1 KiB", "64 MiB", "5 MiB")] = Field(
        default=5 * 1024**2,
        description="Largest call: the daemon's own `MAX_SERVERLESS_REQUEST_BYTES`. A request for an endpoint takes "
        "twice its size of it. Over it: 413.",
    )
    memory: Annotated[int, Size("1 MiB", "1 TiB", "256 MiB")] = Field(
        default=256 * 1024**2,
        description="Calls that are held at the same time, over all functions; one that is coming in counts as "
        "`request_size`. Further ones wait for `admission.queue_time`. Over it: 503.",
    )
    keep_time: Annotated[float, Duration("1h", "87600h", "2160h")] | None = Field(
        default=None,
        description="How long a version of a plugin is kept that nobody calls. Not given: for ever, because Dify does "
        "not tell whether it is still installed, and one that is gone must be installed again.",
    )
    functions: Annotated[int, Count(1, 10_000)] = Field(
        default=500, description="Most versions of plugins that are kept. Over it a launch fails."
    )

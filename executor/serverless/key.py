"""The key that a Dify daemon has to say."""

from __future__ import annotations

from executor.config.references import ResolveError
from executor.config.serverless import SHORTEST_KEY, Serverless, tell_short_key
from executor.errors import StartupError
from executor.reverse.targets.keys import read_key

__all__ = ["read_daemon_key"]


def read_daemon_key(settings: Serverless) -> str:
    """Fetch the key. Secret.

    Raises:
        StartupError: It is not where it should be, cannot be sent in a header, or is short enough to be guessed.
    """
    try:
        key = read_key(settings.key)
    except ResolveError as error:
        raise StartupError(f"serverless.key: {error}") from error
    if len(key) < SHORTEST_KEY:
        raise StartupError(f"serverless.key: {settings.key.source}: {tell_short_key(len(key))}")
    return key

"""The target that the configuration names, made and ready."""

from __future__ import annotations

from typing import Protocol

from executor.config.confidential import Confidential
from executor.config.places import ConfigError, Place, Problem
from executor.config.references import ResolveError
from executor.config.reverse import Reverse
from executor.reverse.call import CallTarget
from executor.reverse.fixtures import FixturesTarget
from executor.reverse.fixtures_file import load_fixtures
from executor.reverse.nobody import NobodyTarget
from executor.reverse.targets.keys import read_key

__all__ = ["ClosableTarget", "open_target"]


class ClosableTarget(CallTarget, Protocol):
    """A target that may have connections."""

    async def close(self) -> None:
        """Close them."""


def open_target(config: Reverse) -> ClosableTarget:
    """Make the target.

    Args:
        config: The section `reverse`, checked.

    Raises:
        ConfigError: A file or a secret that it needs is not there, or not what it should be.
    """
    if config.fixtures is not None and config.target == "fixtures":
        return FixturesTarget(load_fixtures(config.fixtures), str(config.fixtures))
    if config.dify is not None and config.target == "dify":
        from executor.reverse.targets.dify import DifyTarget  # with an HTTP client, which others need not wait for

        return DifyTarget(config.dify, _read("reverse.dify.api_key", config.dify.api_key))
    if config.daemon is not None and config.target == "daemon":
        from executor.reverse.targets.daemon import DaemonTarget

        return DaemonTarget(config.daemon)
    if config.openai is not None and config.target == "openai":
        from executor.reverse.targets.openai import OpenAiTarget

        secret = config.openai.api_key
        return OpenAiTarget(config.openai, _read("reverse.openai.api_key", secret) if secret is not None else "")
    return NobodyTarget()


def _read(name: str, secret: Confidential) -> str:
    try:
        return read_key(secret)
    except ResolveError as error:
        problem = Problem(name=name, place=Place(), found=error.found, expected=error.expected, message=str(error))
        raise ConfigError((problem,)) from error

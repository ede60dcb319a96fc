"""The environment of a version that is being installed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

from executor.catalog.plugin import Plugin
from executor.config.model import Config
from executor.environments.builder import EnvironmentBuilder
from executor.environments.choice import wants_own
from executor.environments.errors import BuildError
from executor.installed.errors import InstalledError
from executor.isolation.host import HostIsolation
from executor.store.records import InstalledPlugin
from executor.store.store import Store

__all__ = ["EnvironmentFailedError", "build_environment"]


class EnvironmentFailedError(InstalledError):
    """The environment of a version could not be built."""

    code = "installed.environment"


def build_environment(
    config: Config, store: Store, version: InstalledPlugin, plugin: Plugin, progress: Callable[[str], None]
) -> InstalledPlugin:
    """Build the environment of a version where it gets one of its own, and keep in the store what came of it.

    Args:
        config: Says which plugins get one, and how it is built.
        store: Borrowed.
        version: That was installed.
        plugin: What is in its folder.
        progress: Told what is going on, a line each.

    Returns:
        The version as it is kept now.

    Raises:
        EnvironmentFailedError: It could not be built. The version stays installed; installing it again tries again.
    """
    if not wants_own(plugin.root, None, config.environments.default):
        return version
    try:
        with (
            contextlib.closing(HostIsolation(config.isolation)) as host,
            EnvironmentBuilder(config.state_dir, config.environments, host) as builder,
        ):
            digest = builder.build(plugin.root, plugin.digest, progress).digest
    except BuildError as error:
        problem = str(error)
        store.plugins.update(version.identifier, lambda one: replace(one, environment_problem=problem))
        raise EnvironmentFailedError(
            f"the environment of {version.identifier} could not be built: {problem}"
        ) from error
    return store.plugins.update(
        version.identifier, lambda one: replace(one, environment=digest, environment_problem=None)
    )

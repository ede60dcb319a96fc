"""From plugins to plugins with environments, building what is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from executor.catalog.plugin import Plugin
from executor.config.environments import EnvironmentSettings
from executor.config.instance import make_state_dir
from executor.config.model import Config
from executor.environments.builder import EnvironmentBuilder
from executor.environments.environment import Environment
from executor.environments.errors import BuildError
from executor.isolation.host import HostIsolation

__all__ = ["Provided", "build_alone", "equip", "provide_environments"]


@dataclass(frozen=True, slots=True)
class Provided:
    """What came of it.

    Attributes:
        plugins: With their environments.
        problems: Why some have none, by folder; a text each, of several lines.
    """

    plugins: tuple[Plugin, ...]
    problems: Mapping[Path, str]


def build_alone(plugin: Plugin, config: Config, progress: Callable[[str], None]) -> Plugin:
    """Have an environment of a plugin's own for a command that ends soon.

    Args:
        plugin: Without an environment.
        config: The configuration.
        progress: Told what is going on.

    Raises:
        BuildError: There is none.
    """
    try:
        make_state_dir(config.state_dir)
    except OSError as error:
        raise BuildError(f"the state directory {config.state_dir} cannot be used: {error}") from error
    host = HostIsolation(config.isolation)
    try:
        with EnvironmentBuilder(config.state_dir, config.environments, host) as builder:
            return replace(plugin, environment=builder.build(plugin.root, plugin.digest, progress))
    finally:
        host.close()


def equip(plugin: Plugin, environment: Environment | None, settings: EnvironmentSettings) -> Plugin:
    """Say what a plugin's workers import from, and what its zygote imports for them.

    Args:
        plugin: As it was read.
        environment: Its own; `None` for the executor's.
        settings: Whether zygotes import anything for workers.
    """
    return replace(plugin, environment=environment, imports=plugin.imports if settings.preload else ())


def provide_environments(
    plugins: Collection[Plugin],
    own: frozenset[Path],
    builder: EnvironmentBuilder,
    progress: Callable[[str, str], None],
) -> Provided:
    """Have the environments of plugins, building those that are not there.

    Args:
        plugins: All of them.
        own: Folders of those that get their own.
        builder: Builds.
        progress: Called with the plugin's name and a line.
    """
    provided: list[Plugin] = []
    problems: dict[Path, str] = {}
    for plugin in plugins:

        def tell(line: str, name: str = plugin.name) -> None:
            progress(name, line)

        try:
            built = builder.build(plugin.root, plugin.digest, tell) if plugin.root in own else plugin.environment
            provided.append(equip(plugin, built, builder.settings))
        except BuildError as error:
            provided.append(plugin)
            problems[plugin.root] = f"plugin {plugin.name}: no environment: {error}"
    return Provided(tuple(provided), problems)

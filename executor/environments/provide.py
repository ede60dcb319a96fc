"""From plugins to plugins with environments: who gets one of its own, and building what is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from executor.catalog.plugin import Plugin
from executor.config.environments import EnvironmentChoice
from executor.environments.builder import EnvironmentBuilder
from executor.environments.errors import BuildError
from executor.environments.requirements import read_requirements

__all__ = ["Provided", "provide_environments", "wants_own"]


@dataclass(frozen=True, slots=True)
class Provided:
    """What came of it.

    Attributes:
        plugins: With their environments.
        problems: Why some have none, by folder; a text each, of several lines.
    """

    plugins: tuple[Plugin, ...]
    problems: Mapping[Path, str]


def wants_own(root: Path, choice: EnvironmentChoice | None, default: EnvironmentChoice | None) -> bool:
    """Tell whether a plugin gets an environment of its own.

    Args:
        root: The plugin's folder.
        choice: What is configured for it.
        default: What is configured for plugins that do not say. Where that is nothing either, a plugin gets its own
            when its files name more than the SDK.
    """
    if choice is not None or default is not None:
        return (choice or default) == "own"
    try:
        requirements = read_requirements(root)
    except BuildError:
        return True  # the build says what is wrong
    return requirements is not None and not requirements.is_only_sdk


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
            provided.append(replace(plugin, environment=built))
        except BuildError as error:
            provided.append(plugin)
            problems[plugin.root] = f"plugin {plugin.name}: no environment: {error}"
    return Provided(tuple(provided), problems)

"""Who gets an environment of its own, and with which Python; told from a plugin's files, without building anything.

Commands that build nothing import this and not the builder, which needs a server and a client of HTTP.
"""

from __future__ import annotations

from pathlib import Path

from executor.config.environments import EnvironmentChoice, EnvironmentSettings
from executor.environments.errors import BuildError
from executor.environments.interpreters import choose_interpreter, read_wish
from executor.environments.requirements import read_requirements

__all__ = ["find_python", "wants_own"]


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


def find_python(root: Path, settings: EnvironmentSettings, choice: EnvironmentChoice | None = None) -> str:
    """Tell which version of Python, as `3.12`, the environment will have that a plugin gets.

    Args:
        root: The plugin's folder.
        settings: The section `environments` of the configuration.
        choice: What is configured for the plugin.

    Returns:
        Nothing for a plugin that gets none of its own, and where it cannot be told.
    """
    if not wants_own(root, choice, settings.default):
        return ""
    try:
        requirements = read_requirements(root)
        wish = read_wish(root, requirements.python if requirements is not None else "")
        return choose_interpreter(wish, settings.pythons, download=False).minor
    except BuildError:
        return ""

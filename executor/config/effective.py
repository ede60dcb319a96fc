"""Joining the levels of limits: defaults, `limits`, the plugin's, the hook's; the most specific one wins.

`first_byte_time` and `idle_time` can never be longer than `wall_time`. Where `wall_time` is given on a more
specific level than they are (or they are not given at all), they are lowered to it, so that `wall_time: 30s`
alone is enough. Where they are given on the same level or a more specific one, the combination is refused
when the file is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from executor.config.limits import Limits
from executor.config.model import Config

__all__ = ["WITHIN_WALL_TIME", "Effective", "Level", "effective_limits", "explain_limits"]

WITHIN_WALL_TIME: Final = ("first_byte_time", "idle_time")
"""Limits that are never longer than `wall_time`."""


class Level(IntEnum):
    """Where a limit was given, from the most general to the most specific."""

    DEFAULT = 0
    GENERAL = 1
    PLUGIN = 2
    HOOK = 3


@dataclass(frozen=True, slots=True)
class Effective:
    """One limit as it holds for a hook.

    Attributes:
        value: Seconds, bytes or a count.
        level: The level that decided.
        lowered: Whether it was lowered to `wall_time`; `level` is then that of `wall_time`.
    """

    value: float
    level: Level
    lowered: bool = False


def effective_limits(config: Config, plugin_root: Path | None, hook_id: str) -> Limits:
    """Join the limits that hold for a hook.

    Args:
        config: The configuration.
        plugin_root: Folder of the hook's plugin, as in `plugins[].path`; `None` to leave that level out.
        hook_id: The hook; it need not be configured.

    Returns:
        Limits of which every field is set.
    """
    explained = explain_limits(config, plugin_root, hook_id)
    return Limits.model_validate({name: item.value for name, item in explained.items()})


def explain_limits(config: Config, plugin_root: Path | None, hook_id: str) -> dict[str, Effective]:
    """Like `effective_limits`, but tell for each limit, by name, which level decided."""
    joined = {name: Effective(field.default, Level.DEFAULT) for name, field in Limits.model_fields.items()}
    for level, limits in _levels(config, plugin_root, hook_id):
        for name in limits.model_fields_set:
            joined[name] = Effective(getattr(limits, name), level)
    wall = joined["wall_time"]
    for name in WITHIN_WALL_TIME:
        if joined[name].value > wall.value:
            joined[name] = Effective(wall.value, wall.level, lowered=True)
    return joined


def _levels(config: Config, plugin_root: Path | None, hook_id: str) -> list[tuple[Level, Limits]]:
    levels = [(Level.GENERAL, config.limits)]
    if plugin_root is not None:
        root = plugin_root.resolve()
        levels += [(Level.PLUGIN, plugin.limits) for plugin in config.plugins if plugin.path.resolve() == root]
    if hook_id in config.hooks:
        levels.append((Level.HOOK, config.hooks[hook_id].limits))
    return levels

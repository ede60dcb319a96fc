"""Joining the levels of limits: defaults, `limits`, the manifest, the plugin's, the hook's; the most specific one wins.

Some limits can never be reached because of another one, `WITHIN`: a pause is not longer than the whole, a file
not larger than the folder, and the folder not larger than the memory that it lives in. Where the other limit is
given on a more specific level (or this one is not given at all), this one is lowered to it, so that `wall_time: 30s`
alone is enough. Where this one is given on the same level or a more specific one, the combination is refused when
the file is read.

`cpu_time` is refused likewise where `wall_time` and `cpu_share` keep an invocation from ever using so much, but
it is not lowered: both clocks would run out together, and which of them ends the invocation would be left to chance.

A manifest's `resource.memory` is the author's guess. It can only lower `memory`, and not below
`MEMORY_HINT_FLOOR`; whoever gives `memory` for the plugin or the hook knows better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, Literal

from executor.config.limits import MEMORY_HINT_FLOOR, Limits
from executor.config.model import Config
from executor.config.places import KeyPath
from executor.config.section import Section
from executor.config.worker import WorkerSettings

__all__ = [
    "WITHIN",
    "Effective",
    "Given",
    "Level",
    "effective_limits",
    "effective_worker",
    "explain_limits",
    "explain_worker",
    "join_limits",
    "reachable_cpu_time",
]

WITHIN: Final[Mapping[str, str]] = {
    "first_byte_time": "wall_time",
    "idle_time": "wall_time",
    "scratch_size": "memory",
    "file_size": "scratch_size",
}
"""Limits that are never higher than another one; each after the one that it depends on."""


class Level(IntEnum):
    """Where a limit was given, from the most general to the most specific."""

    DEFAULT = 0
    GENERAL = 1
    MANIFEST = 2
    PLUGIN = 3
    HOOK = 4


@dataclass(frozen=True, slots=True)
class Given:
    """Limits that are given together, in one place.

    Attributes:
        level: Of the place.
        path: The way to them in the configuration.
        limits: Those that are set count.
    """

    level: Level
    path: KeyPath
    limits: Limits


@dataclass(frozen=True, slots=True)
class Effective:
    """One limit as it holds for a hook.

    Attributes:
        value: Seconds, bytes, CPUs or a count.
        level: The level that decided.
        path: Where in the configuration; empty for defaults and the manifest.
        lowered_to: The limit to which it was lowered, `level` and `path` are then those of that limit; else empty.
    """

    value: float
    level: Level
    path: KeyPath = ()
    lowered_to: str = ""


def effective_limits(
    config: Config, plugin_root: Path | None, hook_id: str, *, memory_hint_bytes: int | None = None
) -> Limits:
    """Join the limits that hold for a hook.

    Args:
        config: The configuration.
        plugin_root: Folder of the hook's plugin, as in `plugins[].path`; `None` to leave that level out.
        hook_id: The hook; it need not be configured.
        memory_hint_bytes: What the plugin's manifest says; `None` when it says nothing.

    Returns:
        Limits of which every field is set.
    """
    explained = explain_limits(config, plugin_root, hook_id, memory_hint_bytes=memory_hint_bytes)
    return Limits.model_validate({name: item.value for name, item in explained.items()})


def effective_worker(config: Config, plugin_root: Path | None, hook_id: str) -> WorkerSettings:
    """Join the levels of the section `worker` that hold for a hook; arguments as for `effective_limits`."""
    explained = explain_worker(config, plugin_root, hook_id)
    return WorkerSettings.model_validate({name: item.value for name, item in explained.items()})


def explain_worker(config: Config, plugin_root: Path | None, hook_id: str) -> dict[str, Effective]:
    """Like `effective_worker`, but tell for each key, by name, what decided."""
    return _join(WorkerSettings, _levels(config, plugin_root, hook_id, "worker"))


def explain_limits(
    config: Config, plugin_root: Path | None, hook_id: str, *, memory_hint_bytes: int | None = None
) -> dict[str, Effective]:
    """Like `effective_limits`, but tell for each limit, by name, what decided."""
    given = [Given(*level) for level in _levels(config, plugin_root, hook_id, "limits")]
    return join_limits(given, memory_hint_bytes)


def join_limits(given: Iterable[Given], memory_hint_bytes: int | None = None) -> dict[str, Effective]:
    """Join levels of limits.

    Args:
        given: Levels, the most general one first.
        memory_hint_bytes: What the manifest says; `None` when it says nothing, or is not known.

    Returns:
        Every limit by its name.
    """
    joined = _join(Limits, ((item.level, item.path, item.limits) for item in given))
    memory = joined["memory"]
    if memory_hint_bytes is not None and memory.level < Level.MANIFEST:
        hint = max(memory_hint_bytes, MEMORY_HINT_FLOOR)
        if hint < memory.value:
            joined["memory"] = Effective(hint, Level.MANIFEST)
    for name, other in WITHIN.items():
        most = joined[other]
        if joined[name].value > most.value:
            joined[name] = Effective(most.value, most.level, most.path, lowered_to=other)
    return joined


def _levels(
    config: Config, plugin_root: Path | None, hook_id: str, name: Literal["limits", "worker"]
) -> Iterator[tuple[Level, KeyPath, Any]]:
    """List where a section with levels is given for a hook, the most general place first: (level, path, section)."""
    yield Level.GENERAL, (name,), getattr(config, name)
    if plugin_root is not None:
        index = config.plugin_places.get(plugin_root.resolve())
        if index is not None:
            yield Level.PLUGIN, ("plugins", index, name), getattr(config.plugins[index], name)
    if hook_id in config.hooks:
        yield Level.HOOK, ("hooks", hook_id, name), getattr(config.hooks[hook_id], name)


def _join(section: type[Section], levels: Iterable[tuple[Level, KeyPath, Section]]) -> dict[str, Effective]:
    """Join levels of a section: for each of its keys the last one that gives it, else the default."""
    joined = {name: Effective(field.default, Level.DEFAULT) for name, field in section.model_fields.items()}
    for level, path, settings in levels:
        for name in settings.model_fields_set:
            joined[name] = Effective(getattr(settings, name), level, (*path, name))
    return joined


def reachable_cpu_time(joined: Mapping[str, Effective]) -> float:
    """Tell how many seconds of CPU time an invocation has at most, whatever `cpu_time` says."""
    return joined["wall_time"].value * joined["cpu_share"].value

"""Joining what is configured and what is installed to what is served.

What is configured is served as a whole or not at all, for whoever wrote it is there to mend it. Hooks of the store were
made one by one: one that cannot be served does not keep the others from it, and goes on as it was, if it was served.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from executor.catalog.plugin import Plugin
from executor.hooks import Bound, BoundHook
from executor.installed.binding import InstalledState

__all__ = ["join_hooks", "settle"]

TAKEN: Final = "the configuration has a hook with the same id, which is served in its place; rename one of them"


def join_hooks(configured: Bound, installed: InstalledState) -> Bound:
    """Put both kinds of hooks together. Of two with the same id, the one of the configuration is served."""
    stored = {hook_id: hook for hook_id, hook in installed.hooks.items() if hook_id not in configured.hooks}
    taken = dict.fromkeys(installed.hooks.keys() & configured.hooks.keys(), TAKEN)
    return Bound(
        plugins=_once((*configured.plugins, *(hook.plugin for hook in stored.values()))),
        hooks={**configured.hooks, **stored},
        warnings=configured.warnings,
        failed={**installed.failed, **taken},
        own=configured.own | installed.own,
    )


def settle(wanted: Bound, problems: Mapping[Path, str], before: Mapping[str, BoundHook]) -> Bound:
    """Take hooks of the store back whose plugin cannot be served.

    Args:
        wanted: What should be served.
        problems: Why plugins cannot be, by their folder; none of the configuration's.
        before: The hooks that are served now.

    Returns:
        What can be served: hooks that fail are as they were, or are missing.
    """
    roots = {hook_id: hook.plugin.root for hook_id, hook in wanted.hooks.items()}
    broken = {hook_id: problems[root] for hook_id, root in roots.items() if root in problems}
    failed = {**wanted.failed, **broken}
    good = {hook_id: hook for hook_id, hook in wanted.hooks.items() if hook_id not in broken}
    kept = {hook_id: before[hook_id] for hook_id in failed if hook_id in before and hook_id not in good}
    hooks = {**good, **kept}
    plugins = _once(hook.plugin for hook in hooks.values())
    return Bound(plugins=plugins, hooks=hooks, warnings=wanted.warnings, failed=failed)


def _once(plugins: Iterable[Plugin]) -> tuple[Plugin, ...]:
    """Leave out what is there already: the same files with the same environment."""
    return tuple({(plugin.root, plugin.digest, plugin.environment): plugin for plugin in plugins}.values())

"""What is served, of what is configured and what is installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from executor.catalog.plugin import Plugin
from executor.catalog.routing import Router
from executor.config.limits import Limits
from executor.hooks import Bound, BoundHook
from executor.installed.binding import InstalledState
from executor.installed.joining import TAKEN, join_hooks, settle
from tests.executor.catalog.plugins import load


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    """A plugin."""
    found = load(tmp_path).plugin
    assert found is not None
    return found


def bind(plugin: Plugin, hook_id: str, word: str = "") -> BoundHook:
    """A hook of it."""
    router = Router(plugin.endpoints, mode="http")
    return BoundHook(
        hook_id=hook_id, plugin=plugin, router=router, settings={"word": word}, limits=Limits(), enabled=True
    )


def installed(*hooks: BoundHook, failed: dict[str, str] | None = None) -> InstalledState:
    """What the store says."""
    return InstalledState(1, {hook.hook_id: hook for hook in hooks}, failed or {})


def test_both_are_served(plugin: Plugin) -> None:
    """Each plugin once; of two hooks with the same id the configuration's, and the other is told."""
    other = replace(plugin, root=Path("/other"))
    configured = Bound((plugin,), {"a": bind(plugin, "a"), "b": bind(plugin, "b", "configured")})
    joined = join_hooks(configured, installed(bind(other, "b"), bind(other, "c"), bind(other, "d"), failed={"e": "no"}))
    assert list(joined.hooks) == ["a", "b", "c", "d"]
    assert joined.hooks["b"].settings == {"word": "configured"}
    assert joined.plugins == (plugin, other)
    assert joined.failed == {"e": "no", "b": TAKEN}


def test_what_fails_goes_on_as_it_was(plugin: Plugin) -> None:
    """If it was served before; and what is gone or new does not come by it."""
    broken = replace(plugin, root=Path("/broken"))
    wanted = join_hooks(
        Bound(), installed(bind(plugin, "good"), bind(broken, "new"), bind(broken, "old"), failed={"lost": "no key"})
    )
    before = {one: bind(plugin, one, "before") for one in ("old", "lost", "removed", "good")}
    settled = settle(wanted, {Path("/broken"): "no worker"}, before)
    assert {hook_id: hook.settings["word"] for hook_id, hook in settled.hooks.items()} == {
        "good": "",
        "old": "before",
        "lost": "before",
    }
    assert settled.failed == {"lost": "no key", "new": "no worker", "old": "no worker"}
    assert settled.plugins == (plugin,)

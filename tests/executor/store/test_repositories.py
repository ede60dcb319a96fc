"""Plugins and hooks as they are kept."""

from __future__ import annotations

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from executor.store import hooks
from executor.store.errors import AlreadyStoredError, InUseError, NotStoredError
from executor.store.records import InstalledPlugin, StoredHook, new_hook_id
from executor.store.storage import StorageScope
from executor.store.store import Store, open_store
from tests.executor.store.support import Place, make_hook, make_plugin


def test_what_is_kept_comes_back_as_it_was(place: Place) -> None:
    """Also after the store was closed and opened again."""
    plugin = replace(make_plugin(), verified=True, signed_by="a key", environment="e", environment_problem="p\n\x1b")
    hook = make_hook(plugin=plugin)
    with open_store(place.url, place.state_dir) as store:
        store.plugins.add(plugin)
        store.hooks.add(hook)
    with open_store(place.url, place.state_dir) as store:
        assert store.plugins.get(plugin.identifier) == plugin
        assert store.hooks.get(hook.hook_id) == hook
        assert (store.plugins.list(), store.hooks.list()) == ((plugin,), (hook,))


def test_what_is_not_there_is_none(store: Store) -> None:
    """And cannot be changed or removed."""
    assert store.plugins.get("no") is None
    assert store.hooks.get("no") is None
    for act in (
        lambda: store.plugins.remove("no"),
        lambda: store.plugins.update("no", lambda plugin: plugin),
        lambda: store.hooks.remove("no"),
        lambda: store.hooks.update("no", lambda hook: hook),
    ):
        with pytest.raises(NotStoredError, match="no"):
            act()
    assert store.generation() == 0


def test_versions_stand_side_by_side(store: Store) -> None:
    """And are listed for one plugin, the oldest first."""
    old, new, other = make_plugin("1.0.0"), make_plugin("2.0.0"), make_plugin(name="dog")
    new = replace(new, installed_at=old.installed_at + 1)
    for plugin in (new, other, old):
        store.plugins.add(plugin)
    assert store.plugins.list("tester/cat") == (old, new)
    assert store.plugins.list() == (old, new, other)
    assert store.plugins.list("tester/ca") == ()


def test_nothing_is_kept_twice(store: Store) -> None:
    """The first one stays as it is."""
    plugin, hook = make_plugin(), make_hook()
    store.plugins.add(plugin)
    store.hooks.add(hook)
    with pytest.raises(AlreadyStoredError, match="is installed already"):
        store.plugins.add(replace(plugin, folder="/elsewhere"))
    with pytest.raises(AlreadyStoredError, match="there is a hook hook000000000001 already"):
        store.hooks.add(replace(hook, enabled=False))
    assert store.plugins.get(plugin.identifier) == plugin
    assert store.hooks.get(hook.hook_id) == hook


def test_a_hook_needs_its_versions(store: Store) -> None:
    """Both the active and the previous one, at its making and at every change."""
    hook = make_hook()
    with pytest.raises(NotStoredError, match="is not installed"):
        store.hooks.add(hook)
    store.plugins.add(make_plugin())
    store.hooks.add(hook)
    for change in ({"active": "gone"}, {"previous": "gone"}):
        with pytest.raises(NotStoredError, match="gone is not installed"):
            store.hooks.update(hook.hook_id, lambda found, change=change: replace(found, **change))  # type: ignore[misc] # a default argument
    assert store.hooks.get(hook.hook_id) == hook


def test_a_hook_changes_its_version_and_goes_back(store: Store) -> None:
    """Until the version before is removed."""
    old, new = make_plugin("1.0.0"), make_plugin("2.0.0")
    store.plugins.add(old)
    store.plugins.add(new)
    store.hooks.add(make_hook(plugin=old))

    def switch(hook: StoredHook) -> StoredHook:
        return replace(hook, active=new.identifier, previous=hook.active)

    changed = store.hooks.update("hook000000000001", switch)
    assert (changed.active, changed.previous) == (new.identifier, old.identifier)
    assert changed.updated_at > changed.created_at
    assert store.hooks.get("hook000000000001") == changed
    with pytest.raises(InUseError, match="serves the hooks hook000000000001"):
        store.plugins.remove(new.identifier)
    assert store.plugins.remove(old.identifier) == old
    assert store.hooks.get("hook000000000001") == replace(changed, previous=None)


def test_a_change_that_fails_changes_nothing(store: Store) -> None:
    """Whatever the change raises comes through."""
    store.plugins.add(make_plugin())
    store.hooks.add(make_hook())
    before = store.generation()

    def fail(_: object) -> StoredHook:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        store.hooks.update("hook000000000001", fail)
    assert store.hooks.get("hook000000000001") == make_hook()
    assert store.generation() == before


def test_a_hook_gets_another_id_and_keeps_what_it_has_stored(store: Store) -> None:
    """But not that of another hook."""
    store.plugins.add(make_plugin())
    store.hooks.add(make_hook())
    store.hooks.add(make_hook("other"))
    own = StorageScope("default", "tester/cat", "hook000000000001")
    store.storage.set(own, "key", b"value", quota_bytes=10)
    with pytest.raises(AlreadyStoredError, match="other"):
        store.hooks.update("hook000000000001", lambda hook: replace(hook, hook_id="other"))
    store.hooks.update("hook000000000001", lambda hook: replace(hook, hook_id="moved"))
    assert store.hooks.get("hook000000000001") is None
    assert store.storage.exist(own, "key") == 0
    assert store.storage.get(replace(own, hook_id="moved"), "key") == b"value"
    store.hooks.remove("moved")
    assert store.storage.exist(replace(own, hook_id="moved"), "key") == 0
    assert [hook.hook_id for hook in store.hooks.list()] == ["other"]


def test_many_hooks_are_removed_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one change, with what they alone have stored; none of them where one is not there."""
    monkeypatch.setattr(hooks, "BATCH", 2)
    store.plugins.add(make_plugin())
    ids = [f"hook-{number}" for number in range(6)]
    for hook_id in ids:
        store.hooks.add(make_hook(hook_id))
    shared, own = StorageScope("default", "tester/cat"), StorageScope("default", "tester/cat", "hook-4")
    for scope in (shared, own):
        store.storage.set(scope, "key", b"value", quota_bytes=10)
    before = store.generation()
    with pytest.raises(NotStoredError, match="hook-9"):
        store.hooks.remove_all([*ids, "hook-9"])
    assert (store.hooks.ids(), store.generation()) == (tuple(ids), before)
    assert store.hooks.remove_all([*ids[1:], ids[1]]) == 5
    assert (store.hooks.ids(), store.generation()) == (("hook-0",), before + 1)
    assert (store.storage.exist(own, "key"), store.storage.exist(shared, "key")) == (0, 1)
    assert store.hooks.remove_all([]) == 0


def test_hooks_are_listed_by_plugin(store: Store) -> None:
    """The oldest first."""
    cat, dog = make_plugin(), make_plugin(name="dog")
    store.plugins.add(cat)
    store.plugins.add(dog)
    first = make_hook("z", plugin=cat)
    second = replace(make_hook("a", plugin=cat), tenant_id="other", created_at=first.created_at + 1)
    third = replace(make_hook("b", plugin=dog), created_at=first.created_at + 2)
    for hook in (third, second, first):
        store.hooks.add(hook)
    assert store.hooks.list() == (first, second, third)
    assert store.hooks.list(plugin_id="tester/cat") == (first, second)
    assert store.hooks.ids() == tuple(hook.hook_id for hook in (first, second, third))
    assert store.hooks.ids(active=first.active) == (first.hook_id, second.hook_id)


def test_every_change_is_counted(store: Store) -> None:
    """So that a running service can see it; plugin storage is not."""
    plugin, hook = make_plugin(), make_hook()
    seen = [store.generation()]
    for act in (
        lambda: store.plugins.add(plugin),
        lambda: store.hooks.add(hook),
        lambda: store.plugins.update(plugin.identifier, lambda found: replace(found, environment="ready")),
        lambda: store.hooks.update(hook.hook_id, lambda found: replace(found, enabled=False)),
        lambda: store.hooks.remove(hook.hook_id),
        lambda: store.plugins.remove(plugin.identifier),
    ):
        act()
        seen.append(store.generation())
    assert seen == sorted(set(seen))
    store.storage.set(StorageScope("t", "a/b"), "key", b"", quota_bytes=0)
    assert store.generation() == seen[-1]


def test_ids_of_hooks_are_those_of_dify() -> None:
    """16 lower-case letters and digits, and never the same."""
    ids = {new_hook_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"[a-z0-9]{16}", hook_id) for hook_id in ids)


def test_settings_are_not_in_the_text_of_a_hook() -> None:
    """It may end up in a log."""
    hook = replace(make_hook(), settings={"key": "hush"}, secrets={"token": "hush"})
    assert "hush" not in repr(hook)


def test_changes_at_the_same_time_do_not_get_in_each_others_way(place: Place) -> None:
    """Hooks change between two versions that others try to remove: each change is made, or refused for a reason."""
    plugins = [make_plugin("1.0.0"), make_plugin("2.0.0")]
    hooks = ["one", "two"]

    def switch(store: Store, hook_id: str) -> None:
        def change(hook: StoredHook) -> StoredHook:
            other = next(plugin.identifier for plugin in plugins if plugin.identifier != hook.active)
            return replace(hook, active=other, previous=hook.active)

        for _ in range(15):
            with contextlib.suppress(NotStoredError):  # removed just now
                store.hooks.update(hook_id, change)

    def remove(store: Store, plugin: InstalledPlugin) -> None:
        for _ in range(15):
            with contextlib.suppress(InUseError):
                store.plugins.remove(plugin.identifier)
                store.plugins.add(plugin)

    with (
        open_store(place.url, place.state_dir) as one,
        open_store(place.url, place.state_dir) as two,
        ThreadPoolExecutor(4) as pool,
    ):
        for plugin in plugins:
            one.plugins.add(plugin)
        for hook_id in hooks:
            one.hooks.add(make_hook(hook_id, plugin=plugins[0]))
        running = [pool.submit(switch, store, hook_id) for store, hook_id in zip([one, two], hooks, strict=True)]
        running += [pool.submit(remove, store, plugin) for store, plugin in zip([two, one], plugins, strict=True)]
        for done in running:
            done.result()
        assert one.plugins.list() == two.plugins.list()
        assert {hook.active for hook in one.hooks.list()} <= {plugin.identifier for plugin in one.plugins.list()}

"""Plugin storage: the contract's semantics, the quota, isolation, compare-and-set, time to live."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from executor.store import scopes
from executor.store.keys import clean_key
from executor.store.scopes import ScopeUsage
from executor.store.storage import (
    InvalidKeyError,
    InvalidTtlError,
    KeyMissingError,
    PluginStorage,
    QuotaExceededError,
    StorageScope,
)
from executor.store.store import Store, open_store
from tests.executor.store.support import Place

SCOPE = StorageScope("tenant", "tester/cat")
QUOTA = 1000


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time of the storage."""
    return Clock()


@pytest.fixture
def storage(store: Store, clock: Clock) -> PluginStorage:
    """An empty storage."""
    return PluginStorage(store._database, clock)


def test_a_value_is_kept(place: Place) -> None:
    """All bytes, the empty value as well, until it is replaced or deleted."""
    every_byte = bytes(range(256))
    with open_store(place.url, place.state_dir) as store:
        assert store.storage.exist(SCOPE, "key") == 0
        store.storage.set(SCOPE, "key", every_byte, quota_bytes=QUOTA)
        store.storage.set(SCOPE, "empty", b"", quota_bytes=QUOTA)
    with open_store(place.url, place.state_dir) as store:
        assert store.storage.get(SCOPE, "key") == every_byte
        assert store.storage.get(SCOPE, "empty") == b""
        assert store.storage.exist(SCOPE, "key") == 1
        store.storage.set(SCOPE, "key", b"other", quota_bytes=QUOTA)
        assert store.storage.get(SCOPE, "key") == b"other"
        assert [store.storage.delete(SCOPE, "key") for _ in range(2)] == [1, 0]
        with pytest.raises(KeyMissingError, match="'key'"):
            store.storage.get(SCOPE, "key")


@pytest.mark.parametrize(
    ("key", "cleaned"),
    [
        ("a", "a"),
        ("a/b", "a/b"),
        ("/a", "a"),
        ("//a", "a"),
        ("a//b/", "a/b"),
        ("./a/./b", "a/b"),
        ("x/../a", "a"),
        ("/../a", "a"),
        (".a", ".a"),
        ("a b\n:%2e%2e*", "a b\n:%2e%2e*"),
        ("ключ/🐈", "ключ/🐈"),
        ("k" * 256, "k" * 256),
    ],
)
def test_keys_are_cleaned_as_paths(storage: PluginStorage, key: str, cleaned: str) -> None:
    """So that all names of a value lead to it."""
    storage.set(SCOPE, key, b"value", quota_bytes=QUOTA)
    assert clean_key(key) == cleaned
    assert storage.get(SCOPE, cleaned) == b"value"
    assert storage.delete(SCOPE, key) == 1


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "names nothing"),
        (".", "names nothing"),
        ("/", "names nothing"),
        ("a/..", "names nothing"),
        ("..", r"must not have '\.\.'"),
        ("../a", r"must not have '\.\.'"),
        ("a/../../b", r"must not have '\.\.'"),
        ("a..b", r"must not have '\.\.'"),
        ("a\\b", "must not have"),
        ("k" * 257, "257 characters"),
        ("a\0b", "NUL"),
        ("\ud800", "surrogate"),
    ],
)
def test_keys_that_cannot_be_used_are_refused(storage: PluginStorage, key: str, message: str) -> None:
    """By every operation."""
    for act in (
        lambda: storage.get(SCOPE, key),
        lambda: storage.exist(SCOPE, key),
        lambda: storage.delete(SCOPE, key),
        lambda: storage.set(SCOPE, key, b"", quota_bytes=QUOTA),
        lambda: storage.compare_and_set(SCOPE, key, None, b"", quota_bytes=QUOTA),
    ):
        with pytest.raises(InvalidKeyError, match=message):
            act()


def test_the_quota_is_checked_before_the_write(storage: PluginStorage) -> None:
    """Over all values of the scope; the old value is still there, and what is removed counts no more."""
    storage.set(SCOPE, "a", b"x" * 600, quota_bytes=QUOTA)
    storage.set(SCOPE, "b", b"y" * 400, quota_bytes=QUOTA)
    for key in ("a", "c"):
        with pytest.raises(QuotaExceededError, match="quota of 1000 bytes would be exceeded: 1000 are used"):
            storage.set(SCOPE, key, b"z" * 601, quota_bytes=QUOTA)
    assert storage.get(SCOPE, "a") == b"x" * 600
    assert storage.exist(SCOPE, "c") == 0
    storage.set(SCOPE, "a", b"x" * 100, quota_bytes=QUOTA)
    storage.set(SCOPE, "c", b"z" * 500, quota_bytes=QUOTA)
    storage.delete(SCOPE, "b")
    storage.set(SCOPE, "b", b"y" * 400, quota_bytes=QUOTA)


def test_a_lowered_quota_lets_values_become_smaller(storage: PluginStorage) -> None:
    """Otherwise a plugin could not get below it again."""
    storage.set(SCOPE, "a", b"x" * 900, quota_bytes=QUOTA)
    storage.set(SCOPE, "a", b"x" * 500, quota_bytes=10)
    with pytest.raises(QuotaExceededError):
        storage.set(SCOPE, "a", b"x" * 501, quota_bytes=10)


def test_the_number_of_keys_is_limited(storage: PluginStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty values are free, but not for ever; those that are there may change."""
    monkeypatch.setattr(scopes, "MAX_KEYS", 3)
    for key in "abc":
        storage.set(SCOPE, key, b"", quota_bytes=QUOTA)
    with pytest.raises(QuotaExceededError, match="3 keys"):
        storage.set(SCOPE, "d", b"", quota_bytes=QUOTA)
    storage.set(SCOPE, "a", b"x", quota_bytes=QUOTA)


def test_scopes_are_apart(storage: PluginStorage) -> None:
    """By tenant, plugin and hook; each has a quota of its own."""
    others = [
        replace(SCOPE, tenant_id="tenant2"),
        replace(SCOPE, plugin_id="tester/dog"),
        replace(SCOPE, hook_id="hook"),
        replace(SCOPE, hook_id="hook2"),
    ]
    for number, scope in enumerate([SCOPE, *others]):
        storage.set(scope, "key", bytes([number]) * 900, quota_bytes=QUOTA)
    for number, scope in enumerate([SCOPE, *others]):
        assert storage.get(scope, "key") == bytes([number]) * 900
    assert storage.delete(SCOPE, "key") == 1
    assert all(storage.exist(scope, "key") for scope in others)
    storage.set(others[0], "key2", b"", quota_bytes=QUOTA)
    assert storage.usage() == (
        ScopeUsage(others[2], 1, 900),
        ScopeUsage(others[3], 1, 900),
        ScopeUsage(others[1], 1, 900),
        ScopeUsage(others[0], 2, 900),
    )
    assert storage.clear(others[0]) == 2
    assert [storage.exist(scope, "key") for scope in others] == [0, 1, 1, 1]


def test_compare_and_set(storage: PluginStorage) -> None:
    """Nothing happens unless the value is as expected."""
    assert not storage.compare_and_set(SCOPE, "key", b"", b"one", quota_bytes=QUOTA)
    assert storage.exist(SCOPE, "key") == 0
    assert storage.compare_and_set(SCOPE, "key", None, b"one", quota_bytes=QUOTA)
    assert not storage.compare_and_set(SCOPE, "key", None, b"two", quota_bytes=QUOTA)
    assert not storage.compare_and_set(SCOPE, "key", b"two", b"two", quota_bytes=QUOTA)
    assert storage.get(SCOPE, "key") == b"one"
    assert storage.compare_and_set(SCOPE, "key", b"one", b"two", quota_bytes=QUOTA)
    assert storage.get(SCOPE, "key") == b"two"
    with pytest.raises(QuotaExceededError):
        storage.compare_and_set(SCOPE, "key", b"two", b"x" * 1001, quota_bytes=QUOTA)
    assert not storage.compare_and_set(SCOPE, "key", b"one", b"x" * 1001, quota_bytes=QUOTA)


def test_a_value_that_has_expired_is_gone(storage: PluginStorage, clock: Clock) -> None:
    """For every operation, at the very moment, and its bytes are free again."""
    storage.set(SCOPE, "key", b"x" * 900, quota_bytes=QUOTA, ttl_s=10)
    clock.now += 9.75
    assert storage.get(SCOPE, "key") == b"x" * 900
    with pytest.raises(QuotaExceededError):
        storage.set(SCOPE, "other", b"y" * 200, quota_bytes=QUOTA)
    clock.now += 0.25
    assert storage.exist(SCOPE, "key") == 0
    with pytest.raises(KeyMissingError):
        storage.get(SCOPE, "key")
    assert storage.delete(SCOPE, "key") == 0
    storage.set(SCOPE, "other", b"y" * 1000, quota_bytes=QUOTA)
    storage.set(SCOPE, "other", b"", quota_bytes=QUOTA, ttl_s=1)
    clock.now += 1
    assert storage.compare_and_set(SCOPE, "other", None, b"", quota_bytes=QUOTA, ttl_s=1)
    storage.set(SCOPE, "other", b"", quota_bytes=QUOTA)
    clock.now += 100
    assert storage.exist(SCOPE, "other") == 1, "the last write had no time to live"


def test_what_has_expired_is_swept(storage: PluginStorage, clock: Clock) -> None:
    """Of all scopes, and nothing else."""
    for name in ("a", "b"):
        scope = replace(SCOPE, tenant_id=name)
        storage.set(scope, "stays", b"x", quota_bytes=QUOTA, ttl_s=11)
        storage.set(scope, "goes", b"x", quota_bytes=QUOTA, ttl_s=10)
    assert storage.sweep() == 0
    clock.now += 10
    assert storage.sweep() == 2
    assert storage.sweep() == 0
    assert storage.get(replace(SCOPE, tenant_id="b"), "stays") == b"x"


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf"), 1e11])
def test_a_time_to_live_is_a_positive_number(storage: PluginStorage, ttl_s: float) -> None:
    """Of seconds, and not too many."""
    with pytest.raises(InvalidTtlError, match="must be more than 0"):
        storage.set(SCOPE, "key", b"", quota_bytes=QUOTA, ttl_s=ttl_s)
    assert storage.exist(SCOPE, "key") == 0


def test_writers_together_do_not_exceed_the_quota(place: Place) -> None:
    """Eight of them, in two stores, at the same time: the first ten values fit, whosever they are."""
    barrier = threading.Barrier(8)

    def write(store: Store, writer: int) -> int:
        written = 0
        barrier.wait()
        for number in range(5):
            try:
                store.storage.set(SCOPE, f"{writer}/{number}", b"x" * 100, quota_bytes=QUOTA)
            except QuotaExceededError:
                continue
            written += 1
        return written

    with (
        open_store(place.url, place.state_dir) as one,
        open_store(place.url, place.state_dir) as two,
        ThreadPoolExecutor(8) as pool,
    ):
        done = list(pool.map(write, [one, two] * 4, range(8)))
        assert sum(done) == 10
        kept = [one.storage.exist(SCOPE, f"{writer}/{number}") for writer in range(8) for number in range(5)]
        assert sum(kept) == 10


def test_of_those_who_compare_and_set_one_succeeds(place: Place) -> None:
    """A counter that eight threads of two stores add to misses nothing."""

    def count(store: Store) -> None:
        done = 0
        while done < 5:
            seen = store.storage.get(SCOPE, "count")
            done += store.storage.compare_and_set(SCOPE, "count", seen, b"%d" % (int(seen) + 1), quota_bytes=QUOTA)

    with (
        open_store(place.url, place.state_dir) as one,
        open_store(place.url, place.state_dir) as two,
        ThreadPoolExecutor(8) as pool,
    ):
        one.storage.set(SCOPE, "count", b"0", quota_bytes=QUOTA)
        list(pool.map(count, [one, two] * 4))
        assert one.storage.get(SCOPE, "count") == b"40"


def test_first_writers_make_a_scope_together(place: Place) -> None:
    """None of them fails."""
    barrier = threading.Barrier(8)

    def write(store: Store, writer: int) -> None:
        barrier.wait()
        store.storage.set(SCOPE, str(writer), b"x", quota_bytes=QUOTA)

    with open_store(place.url, place.state_dir) as store, ThreadPoolExecutor(8) as pool:
        list(pool.map(write, [store] * 8, range(8)))
        assert [store.storage.exist(SCOPE, str(writer)) for writer in range(8)] == [1] * 8

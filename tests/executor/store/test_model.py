"""Plugin storage against a dictionary: any sequence of calls, by two owners, while time goes by."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import ClassVar, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from executor.store.database import Database
from executor.store.storage import KeyMissingError, PluginStorage, QuotaExceededError, StorageScope
from executor.store.store import Store
from tests.executor.store.support import check_counters

QUOTA: Final = 40
KEYS: Final = st.sampled_from(["a", "b", "a/b", "ключ"])
VALUES: Final = st.binary(max_size=QUOTA + 2)
SCOPES: Final = st.sampled_from([None, "hook"])
TTLS: Final = st.none() | st.integers(1, 5).map(float)

Entry = tuple[bytes, float | None]


class Machine(RuleBasedStateMachine):
    """Calls on the storage, and the same on a dictionary."""

    database: ClassVar[Database]
    tenants: ClassVar[Iterator[int]]
    """Each example has a tenant of its own, so that all can be in one database."""
    values = Bundle("values")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_700_000_000.0
        self.tenant = f"tenant {next(self.tenants)}"
        self.storage = PluginStorage(self.database, lambda: self.now)
        self.model: dict[tuple[str | None, str], Entry] = {}

    def scope(self, hook_id: str | None) -> StorageScope:
        """Whose values are meant."""
        return StorageScope(self.tenant, "tester/cat", hook_id)

    def present(self, hook_id: str | None) -> dict[str, bytes]:
        """What should be there now."""
        return {
            key: value
            for (owner, key), (value, until) in self.model.items()
            if owner == hook_id and (until is None or until > self.now)
        }

    def fits(self, hook_id: str | None, key: str, value: bytes) -> bool:
        """Whether the quota lets the value in."""
        present = self.present(hook_id)
        growth = len(value) - len(present.get(key, b""))
        return growth <= 0 or sum(map(len, present.values())) + growth <= QUOTA

    def put(self, hook_id: str | None, key: str, value: bytes, ttl_s: float | None) -> None:
        """Write into the dictionary."""
        self.model[hook_id, key] = (value, None if ttl_s is None else self.now + ttl_s)

    @initialize(target=values)
    def begin(self) -> bytes:
        """There is one value to be used again."""
        return b"value"

    @rule(target=values, hook_id=SCOPES, key=KEYS, value=VALUES, ttl_s=TTLS)
    def set(self, hook_id: str | None, key: str, value: bytes, ttl_s: float | None) -> bytes:
        """Written if it fits."""
        try:
            self.storage.set(self.scope(hook_id), key, value, quota_bytes=QUOTA, ttl_s=ttl_s)
        except QuotaExceededError:
            assert not self.fits(hook_id, key, value)
        else:
            assert self.fits(hook_id, key, value)
            self.put(hook_id, key, value, ttl_s)
        return value

    @rule(hook_id=SCOPES, key=KEYS, expected=st.none() | values, value=VALUES, ttl_s=TTLS)
    def compare_and_set(
        self, hook_id: str | None, key: str, expected: bytes | None, value: bytes, ttl_s: float | None
    ) -> None:
        """Written if the present value is as expected, and it fits."""
        equal = self.present(hook_id).get(key) == expected
        try:
            done = self.storage.compare_and_set(
                self.scope(hook_id), key, expected, value, quota_bytes=QUOTA, ttl_s=ttl_s
            )
        except QuotaExceededError:
            assert equal
            assert not self.fits(hook_id, key, value)
        else:
            assert done == equal
            if done:
                assert self.fits(hook_id, key, value)
                self.put(hook_id, key, value, ttl_s)

    @rule(hook_id=SCOPES, key=KEYS)
    def get(self, hook_id: str | None, key: str) -> None:
        """The value, or an error."""
        try:
            found: bytes | None = self.storage.get(self.scope(hook_id), key)
        except KeyMissingError:
            found = None
        assert found == self.present(hook_id).get(key)

    @rule(hook_id=SCOPES, key=KEYS)
    def exist(self, hook_id: str | None, key: str) -> None:
        """1 or 0."""
        assert self.storage.exist(self.scope(hook_id), key) == (key in self.present(hook_id))

    @rule(hook_id=SCOPES, key=KEYS)
    def delete(self, hook_id: str | None, key: str) -> None:
        """1 or 0, and then it is gone."""
        assert self.storage.delete(self.scope(hook_id), key) == (key in self.present(hook_id))
        self.model.pop((hook_id, key), None)

    @rule(hook_id=SCOPES)
    def clear(self, hook_id: str | None) -> None:
        """How many there were, and then all of them are gone."""
        assert self.storage.clear(self.scope(hook_id)) == len(self.present(hook_id))
        self.model = {place: entry for place, entry in self.model.items() if place[0] != hook_id}

    @rule()
    def sweep(self) -> None:
        """Nobody notices."""
        self.storage.sweep()

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        """Time goes by."""
        self.now += seconds

    @invariant()
    def counters_are_right(self) -> None:
        """What is counted is what is there."""
        check_counters(self.storage._database)


def test_storage_is_a_dictionary_with_a_quota(store: Store) -> None:
    """On both databases."""
    machine = type("BoundMachine", (Machine,), {"database": store._database, "tenants": itertools.count()})
    run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=30))

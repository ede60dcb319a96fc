"""Odd values are kept as they are, or refused with a sentence and without being shown; on both databases alike."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executor.store.errors import InvalidValueError, StorageUnavailableError, StoreError
from executor.store.records import new_hook_id
from executor.store.storage import StorageScope
from executor.store.store import Store
from tests.executor.store.support import make_hook, make_plugin

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(values=st.dictionaries(st.text(), PLAIN, max_size=5))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_settings_of_any_kind_come_back(store: Store, values: dict[str, object]) -> None:
    """Texts of any characters, numbers of any size, as deep as they are."""
    if store.plugins.get(make_plugin().identifier) is None:
        store.plugins.add(make_plugin())
    hook = replace(make_hook(new_hook_id()), settings=values)
    store.hooks.add(hook)
    assert store.hooks.get(hook.hook_id) == hook


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"bytes", {1, 2}])
def test_what_is_no_plain_data_is_refused(store: Store, value: object) -> None:
    """And is not shown; nothing is kept of it."""
    store.plugins.add(make_plugin())
    hook = replace(make_hook(), settings={"token": "correct-horse", "odd": value})
    with pytest.raises(InvalidValueError, match="settings is not plain data: maps") as caught:
        store.hooks.add(hook)
    assert "correct-horse" not in str(caught.value)
    assert store.hooks.list() == ()


def test_what_a_build_has_said_is_made_text(store: Store) -> None:
    """Whatever bytes came out of it."""
    plugin = replace(make_plugin(), environment_problem="no\0 \ud800 wheel\n\x1b[31m🐈")
    store.plugins.add(plugin)
    kept = store.plugins.get(plugin.identifier)
    assert kept == replace(plugin, environment_problem="no\ufffd \ufffd wheel\n\x1b[31m🐈")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folder": "\ud800"}, "folder has a NUL or a lone surrogate"),
        ({"digest": "\0"}, "digest has a NUL or a lone surrogate"),
        ({"version": "v" * 129}, "version has 129 characters; at most 128"),
        ({"declaration": {"a": {b"b": 1}}}, "declaration is not plain data"),
    ],
)
def test_other_texts_must_be_texts(store: Store, change: dict[str, Any], message: str) -> None:
    """And not too long, however patient the database is."""
    with pytest.raises(InvalidValueError, match=message):
        store.plugins.add(replace(make_plugin(), **change))
    assert store.plugins.list() == ()
    store.plugins.add(make_plugin())
    with pytest.raises(InvalidValueError, match=message):
        store.plugins.update(make_plugin().identifier, lambda plugin: replace(plugin, **change))
    assert store.plugins.list() == (make_plugin(),)


def test_values_are_not_in_errors_nor_in_logs(caplog: pytest.LogCaptureFixture, store: Store) -> None:
    """Whatever the database says about them."""
    caplog.set_level(logging.DEBUG)
    scope = StorageScope("t", "a/b")
    with store._database.connection() as connection:
        connection.exec_driver_sql("DROP TABLE executor_storage_entries")
        connection.exec_driver_sql("ALTER TABLE executor_plugins RENAME TO gone")
        connection.commit()
    told: list[BaseException | None] = []
    with pytest.raises(StorageUnavailableError) as caught:
        store.storage.set(scope, "key", b"correct-horse", quota_bytes=100)
    told.append(caught.value)
    with pytest.raises(StoreError, match="could not be used") as also:
        store.plugins.add(replace(make_plugin(), folder="correct-horse"))
    told.append(also.value)
    while told:
        error = told.pop()
        assert "correct-horse" not in str(error)
        told += [] if error is None else [error.__cause__]
    assert "correct-horse" not in caplog.text


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_full_disk_is_told(store: Store) -> None:
    """Nothing is lost by it, and when there is room again it goes on."""
    scope = StorageScope("t", "a/b")
    store.storage.set(scope, "key", b"before", quota_bytes=10**7)
    with store._database.connection() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageUnavailableError) as caught:
        store.storage.set(scope, "key", b"x" * 10**6, quota_bytes=10**7)
    assert "cannot grow: the disk is full" in str(caught.value.__cause__)
    assert store.storage.get(scope, "key") == b"before"
    with store._database.connection() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1000}")
    store.storage.set(scope, "key", b"x" * 10**6, quota_bytes=10**7)


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_a_server_that_only_reads_is_told(store: Store) -> None:
    """Reading goes on."""
    scope = StorageScope("t", "a/b")
    store.storage.set(scope, "key", b"before", quota_bytes=100)
    with store._database.connection() as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = on")
        connection.commit()
    with pytest.raises(StorageUnavailableError) as caught:
        store.storage.set(scope, "key", b"after", quota_bytes=100)
    assert "is read-only: the server is a standby" in str(caught.value.__cause__)
    assert store.storage.get(scope, "key") == b"before"

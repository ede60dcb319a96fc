"""The target of storage, on a real database: answers and texts of errors as Dify's daemon has them, and ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from executor.reverse.call import CallFailedError
from executor.reverse.storage import StorageTarget
from executor.store.storage import PluginStorage, StorageScope
from executor.store.store import open_store
from tests.executor.reverse.targets.support import collect, make_call


class Clock:
    """Unix seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


class Kept:
    """A plugin's storage."""

    def __init__(self, storage: PluginStorage, clock: Clock, threads: ThreadPoolExecutor) -> None:
        self.clock = clock
        self.target = StorageTarget(storage, StorageScope("t", "author/name"), 1000, threads=threads)

    def ask(self, opt: object, key: object = "k", **given: object) -> Any:
        """The answer to one call."""
        call = make_call("storage", {"opt": opt, "key": key, **given})
        (answer,) = asyncio.run(collect(self.target, call))
        return answer


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """An empty storage in SQLite."""
    clock = Clock()
    with open_store(None, tmp_path) as store, ThreadPoolExecutor(1) as threads:
        yield Kept(PluginStorage(store.storage._database, clock), clock, threads)


def test_the_daemons_operations(kept: Kept) -> None:
    """In its words; values are bytes, or hexadecimal from whoever speaks like the SDK."""
    assert kept.ask("exist") == {"data": False, "exist_num": 0}
    assert kept.ask("set", value=b"\0\xff") == {"data": "ok"}
    assert kept.ask("set", "other", value="6162") == {"data": "ok"}
    assert kept.ask("get") == {"data": b"\0\xff"}
    assert kept.ask("get", "other") == {"data": b"ab"}
    assert kept.ask("exist") == {"data": True, "exist_num": 1}
    assert kept.ask("del") == {"data": "ok", "deleted_num": 1}
    assert kept.ask("del") == {"data": "ok", "deleted_num": 0}
    with pytest.raises(CallFailedError, match="load data failed, please check if the key is correct or you have not"):
        kept.ask("get")


def test_time_to_live(kept: Kept) -> None:
    """Ours: a value that is gone is one that is not there."""
    kept.ask("set", value=b"1", ttl_s=10)
    kept.clock.now += 9
    assert kept.ask("exist")["data"] is True
    kept.clock.now += 2
    assert kept.ask("exist")["data"] is False
    for wrong in (True, "1", 0, -1, float("nan"), float("inf"), 1e300):
        with pytest.raises(CallFailedError):
            kept.ask("set", value=b"1", ttl_s=wrong)


def test_compare_and_set(kept: Kept) -> None:
    """Ours: only what is expected is replaced; `None` expects nothing."""
    assert kept.ask("compare_and_set", expected=None, value=b"1") == {"data": True}
    assert kept.ask("compare_and_set", expected=None, value=b"2") == {"data": False}
    assert kept.ask("compare_and_set", expected=b"0", value=b"2") == {"data": False}
    assert kept.ask("compare_and_set", expected=b"1", value=b"2", ttl_s=5) == {"data": True}
    assert kept.ask("get") == {"data": b"2"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"opt": "set", "value": b"x" * 1001}, "save data failed: "),
        ({"opt": "set", "key": "", "value": b""}, "save data failed: "),
        ({"opt": "get", "key": "../x"}, "load data failed: "),
        ({"opt": "del", "key": "k" * 300}, "delete data failed: "),
        ({"opt": "exist", "key": "a\\b"}, "exist data failed: "),
        ({"opt": "set"}, "storage: `value` is missing"),
        ({"opt": "set", "value": "xy"}, "storage: `value` is a text, and not hexadecimal"),
        ({"opt": "compare_and_set", "expected": 1, "value": b""}, "storage: `expected` is missing"),
        ({"opt": "clear"}, "storage: `opt` is one of get, set, del, exist, compare_and_set"),
    ],
)
def test_what_is_refused(kept: Kept, given: dict[str, Any], text: str) -> None:
    """Nothing is changed by it."""
    with pytest.raises(CallFailedError) as caught:
        kept.ask(**given)
    assert caught.value.message.startswith(text)
    assert kept.ask("exist") == {"data": False, "exist_num": 0}

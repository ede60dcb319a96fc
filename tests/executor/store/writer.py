"""Writes into a store until it is killed: `python -m tests.executor.store.writer URL STATE_DIR`.

For each line that it reads it forks a child, which says its process id and then writes on and on: first a value of
plugin storage, then the settings of a hook, then the number of both. So whatever number was said must be there later.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from executor.store.errors import StorageUnavailableError, StoreError
from executor.store.storage import StorageScope
from executor.store.store import Store, open_store

__all__ = ["HOOK", "KEYS", "SCOPE", "value_of"]

SCOPE: Final = StorageScope("tenant", "tester/cat")
HOOK: Final = "hook000000000001"
KEYS: Final = 7
QUOTA: Final = 10_000_000


def value_of(number: int) -> bytes:
    """What is written as the value of a number: of different sizes, up to some pages of the database."""
    return b"%d " % number + b"x" * (number * 997 % 20_000)


def write(store: Store, number: int) -> None:
    """Write everything about a number."""
    store.storage.set(SCOPE, f"key/{number % KEYS}", value_of(number), quota_bytes=QUOTA, ttl_s=1e9)
    store.hooks.update(HOOK, lambda hook: replace(hook, settings={"number": number}))


def run(url: str | None, state_dir: Path) -> None:
    """Write until the end of the process; a store that is gone for a while is tried again."""
    say(f"pid {os.getpid()}")
    number = 0
    store: Store | None = None
    while True:
        try:
            store = store or open_store(url, state_dir)
            hook = store.hooks.get(HOOK)
            assert hook is not None
            number = int(str(hook.settings.get("number", 0))) + 1
            while True:
                write(store, number)
                say(f"done {number}")
                number += 1
        except (StoreError, StorageUnavailableError):
            say(f"lost {number}")
            time.sleep(0.1)  # until the next try; whoever waits for it waits for what is said then


def say(text: str) -> None:
    """Write one line, as a whole."""
    os.write(1, f"{text}\n".encode())


def main() -> None:
    """Fork a writer for each line."""
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            run(sys.argv[1] or None, Path(sys.argv[2]))
        os.waitpid(child, 0)
        say("ended")


if __name__ == "__main__":
    main()

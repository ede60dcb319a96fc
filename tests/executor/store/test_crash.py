"""`kill -9` at any moment loses no change that was acknowledged, and leaves nothing half done."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from executor.store.store import Store, open_store
from tests.executor.store.support import Place, check_counters, make_hook, make_plugin
from tests.executor.store.writer import HOOK, KEYS, SCOPE, value_of
from tests.postgresql import PostgreSQL

pytestmark = pytest.mark.slow

ROUNDS = 25


class Writers:
    """Makes processes that write, one after another."""

    def __init__(self, place: Place) -> None:
        command = [sys.executable, "-m", "tests.executor.store.writer", place.url or "", str(place.state_dir)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.number = 0

    def start(self) -> int:
        """Start one; its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        word, value = self._read()
        assert word == "pid"
        return int(value)

    def wait(self, count: int, word: str = "done") -> None:
        """Wait until it has said a word so many times."""
        while count:
            count -= self.read() == word

    def read(self) -> str:
        """Read what it says next; the highest number that it says to be done is remembered."""
        word, value = self._read()
        if word == "done":
            self.number = int(value)
        return word

    def kill(self, pid: int) -> None:
        """Kill it, and read what it has said before."""
        os.kill(pid, signal.SIGKILL)
        self.wait(1, "ended")

    def close(self) -> None:
        """End."""
        self._process.communicate()

    def _read(self) -> tuple[str, str]:
        assert self._process.stdout is not None
        word, _, value = self._process.stdout.readline().decode().partition(" ")
        assert word.strip(), "the writer has failed"
        return word.strip(), value


@pytest.fixture
def writers(place: Place) -> Iterator[Writers]:
    """Writers of a store with a hook."""
    with open_store(place.url, place.state_dir) as store:
        store.plugins.add(make_plugin())
        store.hooks.add(make_hook(HOOK))
    with contextlib.closing(Writers(place)) as made:
        yield made


def check(store: Store, number: int) -> int:
    """Check that everything up to a number is there, and nothing is half done; up to which number it is."""
    hook = store.hooks.get(HOOK)
    assert hook is not None
    written = int(str(hook.settings.get("number", 0)))
    assert written in {number, number + 1}, "what was said is there, and what was said next may be"
    number = written
    check_counters(store._database)
    for past in range(max(1, number - KEYS + 1), number + 1):
        found = store.storage.get(SCOPE, f"key/{past % KEYS}")
        assert found in {value_of(past), value_of(number + 1)}
        assert found == value_of(past) or past == number - KEYS + 1
    return number


def test_a_writer_is_killed_again_and_again(place: Place, writers: Writers) -> None:
    """Each time somewhere else in what it does: opening, writing, waiting for the disk."""
    dice = random.Random(5)
    for _ in range(ROUNDS):
        pid = writers.start()
        writers.wait(dice.randrange(12))
        time.sleep(dice.random() * 0.02)  # not to wait for something, but to kill at any moment
        writers.kill(pid)
        with open_store(place.url, place.state_dir) as store:
            writers.number = check(store, writers.number)
    assert writers.number > ROUNDS


def test_a_writer_is_killed_while_it_makes_the_tables(place: Place) -> None:
    """They are made by who comes next, as a whole."""
    dice = random.Random(6)
    script = "import sys; from pathlib import Path; from executor.store.store import open_store; print(1, flush=True); "
    script += "open_store(sys.argv[1] or None, Path(sys.argv[2])); print(2, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, place.url or "", str(place.state_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        time.sleep(dice.random() * 0.2)  # likewise
        process.kill()
    with open_store(place.url, place.state_dir) as store:
        store.plugins.add(make_plugin())
        assert store.plugins.list() == (make_plugin(),)


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_a_server_crashes_again_and_again(server: PostgreSQL, writers: Writers, place: Place) -> None:
    """Its processes are killed while they write: it recovers, and the writer goes on by itself."""
    pid = writers.start()
    for _ in range(3):
        writers.wait(3)
        assert server.kill_backends(place.database) > 0
        writers.wait(1, "lost")
        server.wait_until_it_answers()
    writers.wait(3)
    writers.kill(pid)
    with open_store(place.url, place.state_dir) as store:
        check(store, writers.number)

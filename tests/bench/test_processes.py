"""What /proc tells is read right, and nothing of a tree is lost or counted twice."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.bench import processes
from tests.bench.processes import Usage, parse_stat, processes_below, proportional_bytes, settle

# A parent whose child burns a third of a second and is awaited, and which then waits to be ended.
SCRIPT = """
import os, sys, time
if os.fork() == 0:
    while time.process_time() < 0.3:
        pass
    os._exit(0)
os.wait()
print("done", flush=True)
sys.stdin.read()
"""


def test_a_line_of_stat_is_read() -> None:
    """Also when the name has blanks and brackets in it."""
    ticks = os.sysconf("SC_CLK_TCK")
    line = f"42 (a) b (c) S 7 42 42 0 -1 0 100 20 0 0 {ticks} {2 * ticks} {3 * ticks} {4 * ticks} 20 0 1 0 5 6 7"
    name, parent, usage = parse_stat(line)
    assert (name, parent) == ("a) b (c", 7)
    assert usage.cpu_s == pytest.approx(10)
    assert usage.minor_faults == 120


def test_usages_add_up() -> None:
    """And can be taken from one another."""
    assert Usage(1.5, 3) + Usage(1, 2) == Usage(2.5, 5)
    assert Usage(1.5, 3) - Usage(1, 2) == Usage(0.5, 1)


def test_a_tree_counts_children_that_have_ended() -> None:
    """A child that was awaited counts with its parent."""
    command = [sys.executable, "-I", "-c", SCRIPT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        assert set(processes_below(process.pid)) == {process.pid}
        assert process.pid in processes_below(os.getpid())
        used = settle(process.pid)
        assert proportional_bytes(process.pid) > 1 << 20
        process.communicate()
    assert used.cpu_s >= 0.29
    assert used.minor_faults > 0


def test_the_memory_of_a_tree_is_that_of_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many that have one name a few are looked at, and stand for the others."""
    sizes: dict[int, int] = {}
    names = {10: "root", **{pid: f"ee-worker {pid}" for pid in range(20, 120)}, 200: "gone"}

    def look(pid: int) -> int:
        sizes[pid] = 1000 if pid == 10 else 7
        if pid == 200:
            raise FileNotFoundError
        return sizes[pid]

    monkeypatch.setattr(processes, "processes_below", lambda _: {pid: (name, Usage()) for pid, name in names.items()})
    monkeypatch.setattr(processes, "proportional_bytes", look)
    assert processes.tree_bytes(10) == 1000 + 100 * 7
    assert len(sizes) < 40


def test_a_process_that_is_gone_has_nothing() -> None:
    """No tree, no usage, no memory."""
    process = subprocess.Popen([sys.executable, "-I", "-c", ""])
    process.wait()
    assert processes_below(process.pid) == {}
    assert settle(process.pid) == Usage()
    with pytest.raises(OSError, match="smaps_rollup"):
        proportional_bytes(process.pid)

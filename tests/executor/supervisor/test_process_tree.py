"""What real processes have used, as /proc tells."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from executor.supervisor.process_tree import look_at_processes, waited_cpu_s

SECONDS: Final = 0.2
FAMILY: Final = f"""
import os, sys, time
def spin():
    while time.process_time() < {SECONDS}:
        pass
if os.fork() == 0:
    spin()
    os._exit(0)
os.wait()
if os.fork() == 0:
    spin()
    kept = b"x" * (32 << 20)
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)
os.wait()
"""


def test_the_living_and_those_who_were_waited_for() -> None:
    """Both use processor time; of the memory only the living have any."""
    with (
        subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as slot,
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as parent,
    ):
        slot.kill()
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        assert waited_cpu_s(parent.pid) >= SECONDS * 0.9
        cpu_s, memory_bytes = look_at_processes(slot.pid, parent.pid)
        assert cpu_s >= SECONDS * 1.9
        assert memory_bytes >= 32 << 20
        parent.communicate()
    assert (waited_cpu_s(parent.pid), look_at_processes(slot.pid, parent.pid)) == (0, (0, 0))

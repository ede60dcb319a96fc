"""Resource limits: what PREPARE_WORKER names, what always holds, and that nobody can raise them."""

from __future__ import annotations

import os
import resource
import signal
import threading
from pathlib import Path

import pytest

from tests.worker.driver import AS_ROOT, LIMITS
from tests.worker.forked import in_child, status_field
from worker.lockdown.limits import limit_resources, wanted_limits

MIB = 1 << 20
ALL = {**LIMITS, "data_size": 512 * MIB, "address_space": 4096 * MIB}


def get(*numbers: int) -> list[list[int]]:
    """Soft and hard limits."""
    return [list(resource.getrlimit(number)) for number in numbers]


def test_named_limits() -> None:
    """Each limit that is named is set, softly and firmly alike; processor time gets a second to react."""

    def limit() -> list[list[int]]:
        limit_resources(ALL)
        return get(
            resource.RLIMIT_NPROC,
            resource.RLIMIT_CPU,
            resource.RLIMIT_NOFILE,
            resource.RLIMIT_FSIZE,
            resource.RLIMIT_DATA,
            resource.RLIMIT_AS,
        )

    named = (128, None, 256, 64 * MIB, 512 * MIB, 4096 * MIB)
    expected = [[60, 61] if value is None else [value, value] for value in named]
    assert in_child(limit) == expected


def test_fixed_limits() -> None:
    """Without any name there are no core dumps, no locked memory, no queues; the stack is that of other programs."""

    def limit() -> list[list[int]]:
        limit_resources({})
        return get(
            resource.RLIMIT_CORE,
            resource.RLIMIT_MEMLOCK,
            resource.RLIMIT_MSGQUEUE,
            resource.RLIMIT_RTPRIO,
            resource.RLIMIT_STACK,
        )

    assert in_child(limit) == [[0, 0], [0, 0], [0, 0], [0, 0], [8 * MIB, 64 * MIB]]


def test_names_without_resource_limit() -> None:
    """Limits that other means enforce are left out."""
    assert wanted_limits({"scratch_size": 1, "scratch_files": 2}) == wanted_limits({})
    assert wanted_limits({"open_files": 7})[resource.RLIMIT_NOFILE] == 7


def test_lower_limits_stay() -> None:
    """A limit that the service itself was given is not raised."""

    def limit() -> list[list[int]]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (50, 100))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        if AS_ROOT:
            os.setresuid(FREE_ID, FREE_ID, FREE_ID)
        limit_resources({"open_files": 256, "cpu_time": 60})
        return get(resource.RLIMIT_NOFILE, resource.RLIMIT_CPU)

    assert in_child(limit) == [[100, 100], [60, 60]]


def test_cannot_be_raised() -> None:
    """A process without rights cannot take a limit back."""

    def raise_it() -> list[list[int]]:
        if AS_ROOT:
            os.setresuid(65534, 65534, 65534)
        limit_resources(LIMITS)
        for number in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
            _, hard = resource.getrlimit(number)
            with pytest.raises(ValueError, match="not allowed to raise maximum limit"):
                resource.setrlimit(number, (hard, hard + 1))
        return get(resource.RLIMIT_NOFILE)

    assert in_child(raise_it) == [[256, 256]]


def test_open_files() -> None:
    """The number of open files is bounded."""

    def open_many() -> int:
        limit_resources({"open_files": 40})
        with pytest.raises(OSError, match="Too many open files"):
            list(map(os.dup, [0] * 50))
        return os.dup2(0, 39)

    assert in_child(open_many) == 39, "the highest that is allowed"


def test_file_size(tmp_path: Path) -> None:
    """A file cannot get larger than allowed; Python gets an exception, and what fits is written."""

    def write() -> list[int]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit_resources({"file_size": 4096})
        with (tmp_path / "file").open("wb", buffering=0) as file:
            file.write(bytes(4096))
            with pytest.raises(OSError, match="too large"):
                file.write(b"x")
        return [(tmp_path / "file").stat().st_size]

    assert in_child(write) == [4096]


def test_processes_and_threads() -> None:
    """Processes and threads are counted together."""

    def start_many() -> int:
        if AS_ROOT:
            os.setresuid(FREE_ID, FREE_ID, FREE_ID)
        limit_resources({"processes": 1})
        with pytest.raises(OSError, match="unavailable"):
            os.fork()
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threading.Thread(target=print).start()
        return 0

    assert in_child(start_many) == 0


FREE_ID = 2_000_009_999
"""A user who has no other process."""


def test_processor_time() -> None:
    """A process that uses up its time gets SIGXCPU."""

    def spin() -> int:
        pid = os.fork()
        if pid == 0:
            limit_resources({"cpu_time": 1})
            while True:
                pass
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_child(spin) == -signal.SIGXCPU


def test_memory() -> None:
    """Where no control group bounds memory, more than allowed cannot be allocated."""

    def allocate() -> int:
        used = int(status_field("VmData").split()[0]) * 1024
        limit_resources({"data_size": used + 128 * MIB, "address_space": used + 2048 * MIB})
        with pytest.raises(MemoryError):
            bytearray(256 * MIB)
        return len(bytearray(32 * MIB))

    assert in_child(allocate) == 32 * MIB

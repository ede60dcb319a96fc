"""What enforces a limit, in words, on hosts with and without control groups."""

from __future__ import annotations

from typing import Literal

import pytest

from executor.config.limits import Limits
from executor.isolation.enforcement import NOT_ENFORCED, enforcement

ALL = frozenset({"cpu", "cpuacct", "memory", "pids"})
NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize("name", Limits.model_fields)
@pytest.mark.parametrize(
    ("groups", "controllers"), [("v1", ALL), ("v2", ALL), ("v1", NONE), ("v2", NONE), (None, NONE)]
)
def test_every_limit_has_an_answer(name: str, groups: Literal["v1", "v2"] | None, controllers: frozenset[str]) -> None:
    """One line; and all that protects the host is enforced in some way, but for the share of the CPUs."""
    text = enforcement(name, groups, controllers)
    assert text
    assert text.isprintable()
    assert text != NOT_ENFORCED or name == "cpu_share"


@pytest.mark.parametrize("name", Limits.model_fields)
def test_control_groups_leave_nothing_open(name: str) -> None:
    """With all controllers, of either version."""
    assert enforcement(name, "v1", ALL) != NOT_ENFORCED
    assert enforcement(name, "v2", ALL) != NOT_ENFORCED


@pytest.mark.parametrize(
    ("name", "groups", "controllers", "words"),
    [
        ("memory", "v2", ALL, "control group (v2 memory.max), swap off"),
        ("memory", "v1", ALL, "control group (v1 memory.limit_in_bytes), swap off"),
        (
            "memory",
            None,
            NONE,
            "RLIMIT_DATA and RLIMIT_AS per process, and a watch on the whole tree, 10 times a second",
        ),
        ("processes", "v2", ALL, "control group (v2 pids.max), and RLIMIT_NPROC"),
        ("processes", None, NONE, "RLIMIT_NPROC"),
        ("cpu_time", "v2", NONE, "control group (v2 cpu.stat) checked 4 times a second, and RLIMIT_CPU per process"),
        ("cpu_time", "v1", frozenset({"cpu"}), "RLIMIT_CPU per process"),
        ("cpu_share", "v1", ALL, "control group (v1 cpu.cfs_quota_us)"),
        ("cpu_share", "v2", frozenset({"memory", "pids"}), NOT_ENFORCED),
        ("open_files", "v2", ALL, "RLIMIT_NOFILE per process"),
        ("file_size", None, NONE, "RLIMIT_FSIZE per process"),
        ("scratch_size", None, NONE, "tmpfs, size"),
        ("scratch_files", "v2", ALL, "tmpfs, nr_inodes"),
        ("wall_time", None, NONE, "the supervisor's clock"),
    ],
)
def test_the_words_depend_on_the_host(
    name: str, groups: Literal["v1", "v2"] | None, controllers: frozenset[str], words: str
) -> None:
    """On the version, and on the controllers that can be used."""
    assert enforcement(name, groups, controllers) == words


def test_resource_limits_that_are_off_enforce_nothing() -> None:
    """Only what does not depend on them is left."""
    assert enforcement("open_files", "v2", ALL, resource_limits=False) == NOT_ENFORCED
    assert enforcement("processes", None, NONE, resource_limits=False) == NOT_ENFORCED
    assert "RLIMIT" not in enforcement("memory", None, NONE, resource_limits=False)
    assert "watch" in enforcement("memory", None, NONE, resource_limits=False)
    assert "v2" in enforcement("processes", "v2", ALL, resource_limits=False)


def test_swap_that_is_not_limited_is_told() -> None:
    """Memory is worth less then."""
    words = enforcement("memory", "v1", ALL, swap_limited=False)
    assert words == "control group (v1 memory.limit_in_bytes), swap not limited"


def test_unknown_limits_are_an_error() -> None:
    """Of whoever asks."""
    with pytest.raises(KeyError):
        enforcement("disk", None, NONE)

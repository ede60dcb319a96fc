"""The texts that the kernel writes about control groups, and the small decisions that rest on them."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from executor.isolation.cgroup_files import OpenFiles, parse_keys, write_text
from executor.isolation.cgroup_group import cpu_quota_us
from executor.isolation.cgroup_mounts import Mount, candidate_folders, parse_memberships, parse_mounts
from executor.isolation.cgroup_oom import OomWatch
from executor.isolation.cgroup_refusals import explain
from executor.isolation.cgroup_v2 import find_v2_parents
from executor.isolation.cgroup_v2_group import V2Group

MIB = 1024 * 1024
MOUNTS = r"""
22 28 0:21 / /proc rw,nosuid - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 /docker/ab\040c /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 master:3 - cgroup cgroup rw,cpu,cpuacct
33 31 0:32 /docker/ab\040c /sys/fs/cgroup/my\040memory ro - cgroup cgroup rw,memory
34 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
35 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
36 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
37 31 0:38 broken
""".strip()


def test_mounts_are_found() -> None:
    """Those of interest, whatever stands between the fields."""
    assert parse_mounts(MOUNTS) == [
        Mount("v1", "/sys/fs/cgroup/cpu,cpuacct", "/docker/ab c", frozenset({"cpu", "cpuacct"})),
        Mount("v1", "/sys/fs/cgroup/my memory", "/docker/ab c", frozenset({"memory"})),
        Mount("v2", "/sys/fs/cgroup/unified", "/", frozenset()),
    ]


def test_memberships_are_found() -> None:
    """Paths may have colons."""
    assert parse_memberships("4:memory:/a:b\n2:cpu,cpuacct:/c\n1:name=systemd:/d\n0::/e\n") == {
        "memory": "/a:b",
        "cpu": "/c",
        "cpuacct": "/c",
        "name=systemd": "/d",
        "": "/e",
    }


@pytest.mark.parametrize(
    ("root", "own", "folders"),
    [
        ("/", "/", ["/m"]),
        ("/", "/a/b", ["/m/a/b", "/m"]),
        ("/docker/x", "/docker/x", ["/m", "/m/docker/x"]),
        ("/docker/x", "/docker/x/y", ["/m/y", "/m/docker/x/y", "/m"]),
        ("/docker/x", "/docker/xy", ["/m/docker/xy", "/m"]),
        ("/..", "/", ["/m"]),
        ("/", "/../b", ["/m"]),
    ],
)
def test_own_folders_are_guessed_and_tried(root: str, own: str, folders: list[str]) -> None:
    """The likeliest first, and never one outside of the mount."""
    assert candidate_folders(Mount("v1", "/m", root, frozenset()), own) == folders


@pytest.mark.parametrize(
    ("own", "folders"),
    [
        ("/", ["/m"]),
        ("/service", ["/m/service", "/m"]),
        ("/service/endpoint-executor-1-2-3-4-supervisor", ["/m/service", "/m"]),
        ("/endpoint-executor-1-2-3-4-supervisor", ["/m"]),
    ],
)
def test_a_supervisor_that_has_moved_knows_where_it_came_from(own: str, folders: list[str]) -> None:
    """Its groups are beside it, and so are those of a second one that it starts."""
    assert find_v2_parents([Mount("v2", "/m", "/", frozenset())], own) == folders


def test_counts_are_read() -> None:
    """Lines of another form are left out."""
    assert parse_keys(b"oom_kill_disable 0\nunder_oom 0\noom_kill 17\nmax max\nx\n\n") == {
        "oom_kill_disable": 0,
        "under_oom": 0,
        "oom_kill": 17,
    }


def test_values_are_written_to_files_that_exist(tmp_path: Path) -> None:
    """A file that the kernel does not have is told as such; so is who refuses."""
    with pytest.raises(FileNotFoundError, match="absent"):
        write_text(str(tmp_path / "absent"), "1")
    with pytest.raises(OSError, match="/dev/full") as caught:
        write_text("/dev/full", "1")
    assert caught.value.errno == errno.ENOSPC


def test_files_that_stay_open(tmp_path: Path) -> None:
    """They tell what is true now, are opened once, and again after they were closed."""
    (tmp_path / "count").write_text("17\n")
    (tmp_path / "events").write_text("max 1\noom_kill 2\n")
    files = OpenFiles()
    before = psutil.Process().num_fds()
    for number in (17, 18):
        assert files.read_number(str(tmp_path / "count")) == number
        assert files.read_keys(str(tmp_path / "events")) == {"max": 1, "oom_kill": 2}
        files.write_text(str(tmp_path / "count"), "18")
    assert psutil.Process().num_fds() == before + 3
    files.close()
    assert psutil.Process().num_fds() == before
    assert files.read_number(str(tmp_path / "count")) == 18
    files.close()
    with pytest.raises(FileNotFoundError):
        files.read_number(str(tmp_path / "absent"))


@pytest.mark.parametrize(("share", "quota"), [(1.0, 100_000), (0.25, 25_000), (8.0, 800_000), (0.0001, 1000)])
def test_shares_are_microseconds(share: float, quota: int) -> None:
    """For each period of a tenth of a second; the kernel takes no less than one millisecond."""
    assert cpu_quota_us(share) == quota


@pytest.mark.parametrize(
    ("number", "version", "remedy"),
    [
        (errno.EROFS, "v2", "writable-cgroups=true"),
        (errno.EACCES, "v2", "Delegate=yes"),
        (errno.EPERM, "v1", "root"),
        (errno.ENOSPC, "v1", "cgroups(7)"),
    ],
)
def test_errors_have_remedies(number: int, version: str, remedy: str) -> None:
    """And the reason says what was tried."""
    refusal = explain(OSError(number, "words"), version, "do a thing")
    assert refusal.reason == f"cgroup {version}: cannot do a thing: words"
    assert remedy in refusal.remedy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files in the form of a group of version 2."""
    texts = {
        "cpu.stat": "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n",
        "memory.current": "4096\n",
        "memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 1\n",
        "pids.events": "max 5\n",
    }
    limits = ("memory.oom.group", "memory.swap.max", "memory.max", "pids.max", "cpu.max", "cgroup.procs")
    for name, text in (texts | dict.fromkeys(limits, "")).items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_limits_of_version_2(folder: Path) -> None:
    """What the slot needs is added."""
    group = V2Group("slot", str(folder), cpu=True, swap=True)
    group.apply(memory_bytes=64 * MIB, processes=4, cpu_share=0.5)
    written = {name: (folder / name).read_text() for name in ("memory.max", "pids.max", "cpu.max")}
    assert written == {"memory.max": str(80 * MIB), "pids.max": "6", "cpu.max": "50000 100000"}
    assert (folder / "memory.oom.group").read_text() == "1"
    assert (folder / "memory.swap.max").read_text() == "0"


def test_limits_that_the_host_does_not_have_are_left_alone(folder: Path) -> None:
    """Its files are not there."""
    (folder / "cpu.max").unlink()
    (folder / "memory.swap.max").unlink()
    group = V2Group("slot", str(folder), cpu=False, swap=False)
    group.apply(memory_bytes=64 * MIB, processes=4, cpu_share=0.5)
    group.unthrottle()
    assert not (folder / "cpu.max").exists()


def test_usage_of_version_2(folder: Path) -> None:
    """From the beginning, and since a reset."""
    group = V2Group("slot", str(folder), cpu=True, swap=True)
    usage = group.usage()
    assert (usage.cpu_s, usage.memory_bytes, usage.memory_peak_bytes) == (1.5, 4096, None)
    assert (usage.oom_kills, usage.fork_refusals) == (1, 5)
    group.reset()
    (folder / "cpu.stat").write_text("usage_usec 1600000\nuser_usec 1050000\nsystem_usec 550000\n")
    (folder / "pids.events").write_text("max 7\n")
    usage = group.usage()
    assert [usage.cpu_s, usage.cpu_system_s] == pytest.approx([0.1, 0.05])
    assert (usage.oom_kills, usage.fork_refusals) == (0, 2)


def test_a_peak_that_cannot_be_reset_is_known_when_it_grows(folder: Path) -> None:
    """Before Linux 6.12 there is one peak for all workers of a slot."""
    group = V2Group("slot", str(folder), cpu=True, swap=True)
    peak = folder / "memory.peak"
    group._begin_peak = lambda: False  # type: ignore[method-assign]  # an older kernel
    peak.write_text("1000\n")
    assert group.usage().memory_peak_bytes == 1000
    group.reset()
    assert group.usage().memory_peak_bytes is None
    peak.write_text("2000\n")
    assert group.usage().memory_peak_bytes == 2000


class Loop:
    """Readers and timers, called by the test."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.timers: list[tuple[float, Callable[[], None], Loop]] = []
        self.closed = False

    def add_reader(self, descriptor: int, callback: Callable[..., None], *arguments: object) -> None:
        """Have it called when readable."""
        self.readers[descriptor] = lambda: callback(*arguments)

    def remove_reader(self, descriptor: int) -> None:
        """Have it called no more."""
        del self.readers[descriptor]

    def call_later(self, delay: float, callback: Callable[..., None], *arguments: object) -> Loop:
        """Have it called later."""
        self.timers.append((delay, lambda: callback(*arguments), self))
        return self

    def cancel(self) -> None:
        """Cancel the timer."""
        self.timers.clear()

    def is_closed(self) -> bool:
        """Whether it runs no more."""
        return self.closed

    def pass_time(self) -> None:
        """Fire the timers."""
        due, self.timers = self.timers, []
        for _, callback, _ in due:
            callback()


class Kills:
    """The kernel's count, and how often somebody was told."""

    def __init__(self) -> None:
        self.count = 5
        self.told = 0
        self.gone = False

    def read(self) -> int:
        """The count so far."""
        if self.gone:
            raise FileNotFoundError
        return self.count

    def tell(self) -> None:
        """Somebody is told."""
        self.told += 1


def watch(kills: Kills) -> tuple[Loop, OomWatch]:
    """A watch that listens to descriptor 7 and looks twice more."""
    loop = Loop()
    watch = OomWatch(
        cast("asyncio.AbstractEventLoop", cast("Any", loop)), kills.read, kills.tell, pauses_s=(0.005, 0.01)
    )
    watch.listen(7, lambda: None)
    return loop, watch


def test_kills_are_told() -> None:
    """Each time that the count has grown."""
    kills = Kills()
    loop, _ = watch(kills)
    for told in (1, 2):
        kills.count += 1
        loop.readers[7]()
        assert kills.told == told
    assert loop.timers == []


def test_a_kill_that_comes_after_its_announcement_is_told() -> None:
    """As with version 1."""
    kills = Kills()
    loop, _ = watch(kills)
    loop.readers[7]()
    loop.pass_time()
    kills.count += 1
    loop.pass_time()
    assert kills.told == 1
    assert loop.timers == []


def test_somebody_elses_want_of_memory_is_not_told() -> None:
    """The container is full, but this group has lost nobody."""
    kills = Kills()
    loop, _ = watch(kills)
    loop.readers[7]()
    loop.readers[7]()
    assert [delay for delay, _, _ in loop.timers] == [0.005]
    loop.pass_time()
    loop.pass_time()
    assert loop.timers == []
    assert kills.told == 0


def test_a_watch_ends() -> None:
    """With its timers; with the group; and when the loop is closed already."""
    kills = Kills()
    loop, one = watch(kills)
    loop.readers[7]()
    one.close()
    one.close()
    assert (loop.readers, loop.timers) == ({}, [])
    loop, other = watch(kills)
    kills.gone = True
    loop.readers[7]()
    assert loop.timers == []
    loop.closed = True
    other.close()
    assert kills.told == 0

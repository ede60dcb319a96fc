"""Zygotes of environments, and the folders that are lent to the zygotes of plugins that are forked from them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, send_fds, socketpair
from typing import Any, Final, TypeVar

import pytest

from protocol import Exited, ForkFailed, LendFolder, PrepareForks
from tests.environments import build_environment, plant
from tests.worker.driver import (
    AS_ROOT,
    BaseZygote,
    Plugin,
    ZygoteDriver,
    base_with_pipe,
    make_fork_zygote,
    wait_readable,
)
from tests.worker.forked import in_child, in_user_namespace, open_descriptors
from worker import backing, lending
from worker.lending import fork_lender, receive_folder
from worker.lockdown.calls import CLONE_NEWNS, MS_BIND, attach_tree, mount, umount, unshare
from worker.user_namespace import become_root_of_own_namespace
from worker.view import MAX_COPY, ViewError

T = TypeVar("T")

MS_REMOUNT: Final = 0x20


class Family:
    """The zygote of an environment, and those of its plugins.

    Args:
        base: What they come from.
        environment: The folder of the environment.
    """

    def __init__(self, base: BaseZygote, environment: Path) -> None:
        self.base = base
        self.folder = environment
        self.zygote = base.fork_zygote([], environment=environment)
        self.zygote.wait_ready()
        self.plugins: list[Plugin] = []

    def fork(self, root: Path, **given: Any) -> ZygoteDriver:
        """Have the zygote of a plugin forked; it may not be ready yet."""
        return self.zygote.fork_zygote([], plugin_root=root, environment=self.folder, lender=self.base, **given)

    def add(self, root: Path) -> Plugin:
        """Have a plugin."""
        root.mkdir(mode=0o755, exist_ok=True)
        zygote = self.fork(root)
        zygote.wait_ready()
        self.plugins.append(Plugin(zygote, root))
        return self.plugins[-1]

    def close(self) -> None:
        """Close our ends of everything."""
        for plugin in self.plugins:
            for worker in plugin.workers:
                worker.close()
            plugin.zygote.close()
        self.zygote.close()


@pytest.fixture(scope="module")
def environment() -> Path:
    """An environment for our version of Python, without an SDK."""
    return build_environment("werkzeug>=3")


@pytest.fixture
def base(environment: Path) -> Iterator[BaseZygote]:
    """A base zygote for it, its descriptor 2 a pipe."""
    with base_with_pipe((environment / "bin/python").resolve()) as zygote:
        yield zygote


@pytest.fixture
def family(base: BaseZygote, environment: Path) -> Iterator[Family]:
    """The zygote of the environment."""
    with contextlib.closing(Family(base, environment)) as family:
        yield family


def ask(plugin: Plugin, expression: str) -> Any:
    """What an expression is in an endpoint."""
    plugin.endpoint(f"return Response(json.dumps({expression}))")
    answer = plugin.call()
    assert answer.error is None, answer.error
    return json.loads(answer.body)


def mounts(pid: int) -> list[str]:
    """Where something is mounted for a process; `/tmp` of a view is a link to `/private/tmp`."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return [line.split()[4].removeprefix("/private") for line in lines]


def test_each_plugin_sees_its_own_folder_only(family: Family, tmp_path: Path) -> None:
    """In its zygote and in its workers; the zygote of the environment sees none."""
    plugins = [family.add(tmp_path / name) for name in ("a", "b")]
    for plugin in plugins:
        assert ask(plugin, f"sorted(os.listdir({str(tmp_path)!r}))") == [plugin.root.name]
        assert ask(plugin, "os.getcwd()").removeprefix("/private") == str(plugin.root)
        assert str(plugin.root) in mounts(plugin.zygote.pid)
        assert len([place for place in mounts(plugin.zygote.pid) if place.startswith(str(tmp_path))]) == 1
    assert not [place for place in mounts(family.zygote.pid) if place.startswith(str(tmp_path))]
    assert mounts(family.zygote.pid), "it could be read"


def test_nothing_is_imported_again(base: BaseZygote, environment: Path, tmp_path: Path) -> None:
    """What the environment runs is run once, in its zygote, which is process 1 of its table."""
    planted = plant(environment, tmp_path / "planted", "import os, sys\nseen = [os.getpid(), id(sys.modules)]")
    with contextlib.closing(Family(base, planted)) as family:
        seen = [ask(family.add(tmp_path / name), "__import__('planted').seen") for name in ("a", "b")]
    assert seen[0] == seen[1]
    assert seen[0][0] == 1


def test_threads_that_an_import_leaves(base: BaseZygote, environment: Path, tmp_path: Path) -> None:
    """They stay in the zygote of the environment, and disturb nothing."""
    code = "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True).start()"
    with contextlib.closing(Family(base, plant(environment, tmp_path / "planted", code))) as family:
        plugin = family.add(tmp_path / "a")
        status = Path(f"/proc/{plugin.zygote.pid}/status").read_text()
        assert "Threads:\t1\n" in status
        assert ask(plugin, "[__import__('planted').__name__, threading.active_count()]") == ["planted", 1]


def test_forks_are_prepared_once(family: Family, tmp_path: Path) -> None:
    """On command, by the zygote of the environment only; those that were forked before go on as they are."""
    before = family.add(tmp_path / "a")
    assert moved_bytes(family.zygote.pid) == moved_bytes(before.zygote.pid)
    family.zygote.command(PrepareForks())
    after = family.add(tmp_path / "b")
    assert moved_bytes(after.zygote.pid) == moved_bytes(family.zygote.pid)
    assert moved_bytes(after.zygote.pid) > moved_bytes(before.zygote.pid) or not backing.NATIVE
    assert [ask(plugin, "1") for plugin in (before, after)] == [1, 1]
    for zygote in (family.zygote, family.base):
        zygote.command(PrepareForks())
    wait_readable(family.base.stderr_fd)
    assert os.read(family.base.stderr_fd, 4096) == b"zygote base: nothing is to be prepared here\n"
    again = family.add(tmp_path / "c")
    assert ask(again, "1") == 1
    assert moved_bytes(again.zygote.pid) == moved_bytes(after.zygote.pid)


def moved_bytes(pid: int) -> int:
    """How much memory of a process was moved into files in memory."""
    lines = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    ranges = [line[0].split("-") for line in lines if line[5:6] == ["/memfd:shared"]]
    return sum(int(end, 16) - int(start, 16) for start, end in ranges)


def test_they_are_processes_of_their_own(family: Family, tmp_path: Path) -> None:
    """Each plugin's zygote is process 1 of its own table, with the user of that of the environment."""
    plugins = [family.add(tmp_path / name) for name in ("a", "b")]
    pids = [family.zygote.pid, *(plugin.zygote.pid for plugin in plugins)]
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    assert len({line for status in statuses for line in status.splitlines() if line[:4] in {"Uid:", "Gid:"}}) == 2
    for plugin, status in zip(plugins, statuses[1:], strict=True):
        (numbers,) = (line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
        assert (numbers[0], numbers[-1]) == (str(plugin.zygote.pid), "1")
        assert f"PPid:\t{family.zygote.pid}\n" in status
        assert (plugin.zygote.ready["name"], plugin.zygote.ready["threads"]) == ("plugin", 1)
    for kind in ("pid", "mnt", "net"):
        assert len({Path(f"/proc/{pid}/ns/{kind}").readlink() for pid in pids}) == 3


def test_an_environment_in_the_plugins_folder(base: BaseZygote, environment: Path, tmp_path: Path) -> None:
    """It is seen by its zygote without the plugin, and by the plugin's as a part of the folder."""
    inner = plant(environment, tmp_path / "a/.venv", "")
    with contextlib.closing(Family(base, inner)) as family:
        plugin = family.add(tmp_path / "a")
        seen = ask(plugin, "[__import__('werkzeug').__file__, os.path.exists('endpoints'), sys.prefix]")
        assert [place for place in mounts(family.zygote.pid) if place.startswith(str(tmp_path))] == [str(inner)]
    assert seen == [next(inner.glob("lib/python3*/site-packages/werkzeug/__init__.py")).as_posix(), True, str(inner)]


def test_the_end_of_one_disturbs_no_other(family: Family, tmp_path: Path) -> None:
    """Neither its siblings nor what it came from."""
    first, second = (family.add(tmp_path / name) for name in ("a", "b"))
    os.kill(first.zygote.pid, signal.SIGKILL)
    assert family.zygote.report(Exited, first.zygote.id).status == signal.SIGKILL
    assert ask(second, "1") == 1
    assert ask(family.add(tmp_path / "c"), "2") == 2


def test_with_the_zygote_of_the_environment_all_end(family: Family, tmp_path: Path) -> None:
    """The kernel ends what is below it."""
    plugin = family.add(tmp_path / "a")
    os.kill(family.zygote.pid, signal.SIGKILL)
    plugin.zygote.wait_end()
    family.base.report(Exited, family.zygote.id)
    assert not Path(f"/proc/{plugin.zygote.pid}").exists()


def test_mounts_are_locked(family: Family, tmp_path: Path) -> None:
    """A plugin's folder is read-only, without set-user-id and devices."""
    flags = ask(family.add(tmp_path / "a"), "os.statvfs(os.getcwd()).f_flag")
    wanted = os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV
    assert flags & wanted == wanted


def test_a_private_folder_is_served(family: Family, tmp_path: Path) -> None:
    """It stays what it is on the host."""
    plugin = family.add(tmp_path / "a")
    plugin.endpoint("return Response(open('private').read())")
    plugin.write("private", "of the plugin").chmod(0o600)
    plugin.root.chmod(0o700)
    again = family.add(plugin.root)
    assert again.call().body == b"of the plugin"
    assert plugin.root.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_lent(family: Family, tmp_path: Path) -> None:
    """The zygote of the plugin says which one and why, and ends; others are served."""
    zygote = family.fork(tmp_path / "none")
    failed = zygote.report(ForkFailed, zygote.id)
    assert failed.message == f"the plugin folder {tmp_path}/none cannot be shown: No such file or directory"
    assert family.zygote.report(Exited, zygote.id).status == 0
    zygote.close()
    assert ask(family.add(tmp_path / "a"), "1") == 1


def test_a_lender_that_is_gone(family: Family, tmp_path: Path) -> None:
    """The end of the socket says that there will be no folder."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    ours.close()
    with theirs:
        zygote, failed = start(family.zygote, family.folder, tmp_path, theirs.fileno())
    assert failed.message == f"the plugin folder {tmp_path} was not lent: its lender has ended"
    zygote.close()


def start(
    parent: ZygoteDriver, environment: Path | str, root: Path | str = "", *links: int
) -> tuple[ZygoteDriver, ForkFailed]:
    """Ask for a zygote that there will not be; it, and why."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    zygote = ZygoteDriver(ours, parent.next_id())
    message = make_fork_zygote(zygote.id, [], plugin_root=root, environment=environment)
    with theirs:
        parent.command(message, [theirs.fileno(), 2, *links])
    return zygote, (zygote if links else parent).report(ForkFailed, zygote.id)


def test_only_the_base_zygote_lends(family: Family, tmp_path: Path) -> None:
    """And it needs a socket for that; nothing else happens."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    plugin = family.add(tmp_path / "a")
    message = LendFolder(plugin_root=str(tmp_path), copy_private=AS_ROOT)
    with theirs:
        for zygote in (family.zygote, plugin.zygote):
            zygote.command(message, [theirs.fileno()])
    with ours:
        assert ours.recv(1) == b""
    family.base.command(message)
    assert ask(family.add(tmp_path / "b"), "1") == 1


def test_others_come_from_elsewhere(family: Family, tmp_path: Path) -> None:
    """A zygote forks those of its environment only, and one of a plugin none at all; each needs its descriptors."""
    plugin = family.add(tmp_path / "a")
    for parent, environment in ((family.zygote, ""), (family.zygote, tmp_path), (plugin.zygote, family.folder)):
        zygote, failed = start(parent, environment)
        assert failed.message == f"no zygote for {environment or 'plugin'} comes from here"
        zygote.close()
    zygote, failed = start(family.zygote, family.folder, tmp_path)
    assert failed.message == "2 descriptors came with ForkZygote"
    zygote.close()


def test_zygotes_keep_no_descriptors(family: Family, tmp_path: Path) -> None:
    """Neither sockets nor folders stay open where they only passed, nor in the zygote that has mounted one."""

    def held(zygote: ZygoteDriver) -> list[str]:
        links = [str(path.readlink()) for path in Path(f"/proc/{zygote.pid}/fd").iterdir()]
        return sorted("folder" if link in {"/", "/bytecode"} else link.partition(":")[0] for link in links)

    before = [held(zygote) for zygote in (family.base, family.zygote)]
    plugin = family.add(tmp_path / "a")
    assert [held(zygote) for zygote in (family.base, family.zygote)] == before
    assert held(plugin.zygote) == held(family.zygote)


def lend(root: Path, function: Callable[[int], T], *, copy_private: bool = AS_ROOT) -> T:
    """Have a folder lent, and run a function with the descriptor of the mount, in a child."""

    def borrow() -> T:
        before = open_descriptors()
        here, there = socketpair(AF_UNIX, SOCK_SEQPACKET)
        with here:
            fork_lender(here.fileno(), str(root), copy_private=copy_private, forget=lambda: None)
        try:
            lent_fd = receive_folder(there.detach(), str(root))
        finally:
            os.wait()
        assert {*open_descriptors()} == {*before, lent_fd}
        return function(lent_fd)

    return in_child(borrow)


def in_place(lent_fd: int, function: Callable[[str], T]) -> T:
    """Mount what was lent, as root of namespaces of one's own."""
    become_root_of_own_namespace()
    unshare(CLONE_NEWNS)
    mount("place", "/mnt", "tmpfs")
    Path("/mnt/lent").mkdir()
    attach_tree(lent_fd, "/mnt/lent")
    return function("/mnt/lent")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a file that everybody may write."""
    folder = tmp_path / "plugin"
    folder.mkdir(mode=0o755)
    (folder / "file").write_text("text")
    (folder / "file").chmod(0o666)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.getuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    return folder


def test_a_lent_folder_is_locked(root: Path) -> None:
    """Whoever has mounted it, with all rights in the namespaces that it is in, cannot make it writable."""

    def look(place: str) -> list[object]:
        seen: list[object] = [Path(place, "file").read_text()]
        for flags in (MS_BIND | MS_REMOUNT, MS_BIND | MS_REMOUNT | os.ST_RDONLY):
            try:
                mount(None, place, None, flags=flags)
            except OSError as error:
                seen.append(error.errno)
        try:
            Path(place, "file").write_text("other")
        except OSError as error:
            seen.append(error.errno)
        return seen

    expected = ["text", errno.EPERM, errno.EPERM, errno.EROFS]
    assert lend(root, lambda lent_fd: in_place(lent_fd, look)) == expected
    root.chmod(0o700)
    assert lend(root, lambda lent_fd: in_place(lent_fd, look)) == expected


def test_it_is_the_folder_itself_where_everybody_may_read_it(root: Path) -> None:
    """Changes are seen in it; a private one is a copy, as the folder was, where workers have ids of their own."""

    def change(lent_fd: int) -> str:
        (root / "file").write_text("changed")
        return in_place(lent_fd, lambda place: Path(place, "file").read_text())

    assert lend(root, change) == "changed"
    (root / "file").write_text("text")
    root.chmod(0o700)
    assert lend(root, change) == ("text" if AS_ROOT else "changed")


def test_everything_mounted_below_is_lent_and_locked(root: Path) -> None:
    """File systems that are mounted in the folder come with it, and cannot be taken away from it."""
    (root / "below").mkdir()

    def look(place: str) -> list[object]:
        seen: list[object] = [Path(place, "below/file").read_text()]
        with pytest.raises(PermissionError):
            mount(None, f"{place}/below", None, flags=MS_BIND | MS_REMOUNT)
        with pytest.raises(OSError, match="umount") as raised:
            umount(f"{place}/below")
        return [*seen, raised.value.errno]

    def borrow() -> list[object]:
        mount("below", str(root / "below"), "tmpfs")
        (root / "below/file").write_text("below")
        return lend(root, lambda lent_fd: in_place(lent_fd, look), copy_private=False)

    assert in_user_namespace(CLONE_NEWNS, borrow) == ["below", errno.EINVAL]


@pytest.mark.skipif(not AS_ROOT, reason="only root copies folders")
def test_a_private_folder_that_is_too_large(root: Path) -> None:
    """It is not lent, and the text has the remedy."""
    root.chmod(0o700)
    os.truncate(root / "file", MAX_COPY + 1)
    with pytest.raises(AssertionError, match=rf"ViewError: the plugin folder {root} .* chmod -R o\+rX {root}"):
        lend(root, lambda _: None)


def test_a_folder_that_is_a_file(root: Path) -> None:
    """It is not lent."""
    told = f"ViewError: the plugin folder {root}/file cannot be shown: Not a directory"
    with pytest.raises(AssertionError, match=told):
        lend(root / "file", lambda _: None)


def test_waiting_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody lends anything: that is told."""
    monkeypatch.setattr(lending, "WAITING_TIME_MS", 1)
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    with ours, pytest.raises(ViewError, match="the plugin folder /plugin was not lent within 1 ms"):
        receive_folder(theirs.detach(), "/plugin")


def test_a_text_with_a_descriptor_is_no_folder() -> None:
    """The text is what is told, and the descriptor is closed."""
    before = open_descriptors()
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    with ours:
        send_fds(ours, [b"why not"], [0])
        with pytest.raises(ViewError, match=r"^why not$"):
            receive_folder(theirs.detach(), "/plugin")
    assert open_descriptors() == before


def test_a_lender_that_hangs_is_ended(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own alarm, whatever it is waiting for."""
    monkeypatch.setattr(lending, "LENDING_TIME_S", 1)
    monkeypatch.setattr(lending, "_detach_folder", lambda *_, **__: signal.pause())
    with pytest.raises(AssertionError, match="was not lent: its lender has ended"):
        lend(root, lambda _: None)

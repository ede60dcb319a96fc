"""The view: what of the host's files endpoints see, and that they can change none of it."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from protocol import Exited
from tests.worker.driver import AS_ROOT, BaseZygote, Plugin
from tests.worker.forked import in_child, in_user_namespace
from worker.lockdown.calls import CLONE_NEWNS, CLONE_NEWPID, mount
from worker.view import MAX_COPY, ViewError, build_view, interpreter_trees

T = TypeVar("T")

DEVICES: Final = {"null", "zero", "full", "random", "urandom"}
HIDDEN: Final = (
    "/etc/shadow",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/machine-id",
    "/home",
    "/run",
    "/sys",
    "/var",
    "/boot",
    "/old",
    "/new",
    "/root/.ssh",
    "/proc/1",
    "/proc/sys",
    "/proc/kcore",
    "/proc/mounts",
    "/proc/net",
    "/dev/mem",
    "/dev/tty",
    "/dev/pts",
    "/dev/kmsg",
    "/dev/fuse",
)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A plugin's folder, open to everybody."""
    folder = tmp_path / "plugin"
    folder.mkdir(mode=0o755)
    yield folder
    folder.chmod(0o755)


def in_view(plugin_root: Path, function: Callable[[], T], *trees: Path, copy_private: bool = False) -> T:
    """Build a view in a child that may do that, and run a function there."""

    def enter() -> T:
        build_view([*interpreter_trees(), *map(str, trees)], str(plugin_root), copy_private=copy_private)
        return function()

    return in_user_namespace(CLONE_NEWNS | CLONE_NEWPID, enter)


def seen(plugin: Plugin, expression: str) -> Any:
    """What an expression is in an endpoint."""
    plugin.endpoint(f"import stat, errno\nreturn Response(json.dumps({expression}))")
    answer = plugin.call()
    assert answer.error is None, answer.error
    return json.loads(answer.body)


def test_hidden(plugin: Plugin) -> None:
    """What belongs to the host is not there: its configuration, homes, state, devices and kernel."""
    assert seen(plugin, f"[path for path in {HIDDEN!r} if os.path.lexists(path)]") == []


def test_root_folder(plugin: Plugin) -> None:
    """The root has the folders of the system that programs need, and those on the way to what is shown."""
    trees = [*interpreter_trees(), str(plugin.root)]
    ways = {tree.split("/")[1] for tree in trees}
    system = {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "gnu"}
    names = set(seen(plugin, "os.listdir('/')"))

    own = {"bytecode", "dev", "etc", "private", "proc", "tmp", "usr"}
    assert own <= names <= own | system | ways
    assert seen(plugin, "[os.readlink('/tmp'), os.listdir('/private')]") == ["private/tmp", ["tmp"]]


def test_devices(plugin: Plugin) -> None:
    """There are the devices that hold nothing, and links to what POSIX programs look for."""
    expression = (
        "{name: os.readlink(f'/dev/{name}') if os.path.islink(f'/dev/{name}') else '' for name in os.listdir('/dev')}"
    )
    links = {"fd": "/proc/self/fd", "shm": "/private/tmp"} | {
        f"std{name}": f"/proc/self/fd/{number}" for number, name in enumerate(("in", "out", "err"))
    }

    assert seen(plugin, expression) == dict.fromkeys(DEVICES, "") | links
    assert seen(plugin, "[open('/dev/zero', 'rb').read(2).hex(), open('/dev/null', 'wb').write(b'x')]") == ["0000", 1]


def test_identity_files(plugin: Plugin) -> None:
    """Users, groups and names of hosts are those of a worker, not of the host."""
    expression = (
        "[__import__('pwd').getpwuid(os.getuid()).pw_name, __import__('grp').getgrgid(os.getgid()).gr_name,"
        " len(__import__('pwd').getpwall()), __import__('socket').gethostname(), os.path.expanduser('~')]"
    )

    assert seen(plugin, expression) == ["worker", "worker", 2, "worker", "/tmp"]


def test_neighbours_are_hidden(plugin: Plugin, tmp_path: Path) -> None:
    """Folders on the way to the plugin's have nothing else in them."""
    (tmp_path / "other").write_text("secret")
    above = plugin.root.parent.parent

    assert seen(plugin, f"os.path.exists({str(tmp_path)!r})") is False
    assert seen(plugin, f"os.listdir({str(above)!r})") == [plugin.root.parent.name]


def test_nothing_can_be_written(plugin: Plugin) -> None:
    """Every folder but the private one refuses new files: the plugin's, the interpreter's, the system's, the root."""
    plugin.endpoint(
        """
        import errno
        refused, written = [], []
        for folder, folders, _ in os.walk("/"):
            if folder in ("/proc", "/private/tmp") or folder.count("/") > 2:
                folders.clear()
            if folder in ("/proc", "/private/tmp"):
                continue
            try:
                os.close(os.open(f"{folder}/new", os.O_CREAT | os.O_WRONLY))
                written.append(folder)
            except OSError as error:
                refused.append(error.errno)
        return Response(json.dumps([written, len(refused) > 20, sorted(set(refused))]))
        """
    )
    written, many, numbers = json.loads(plugin.call().body)

    assert written == []
    assert many
    assert set(numbers) <= {13, 30}, "EACCES, EROFS"


def test_mounts_are_locked(plugin: Plugin) -> None:
    """Everything shown is read-only and without set-user-id, and no device works but those meant to."""
    expression = """[
        [path, bool(os.statvfs(path).f_flag & os.ST_RDONLY), bool(os.statvfs(path).f_flag & os.ST_NOSUID)]
        for path in ('/', '/usr/bin', '/usr/share', '/etc', '/dev', os.getcwd(), sys.prefix, '/tmp', '/proc')
    ]"""

    for path, read_only, no_suid in seen(plugin, " ".join(expression.split())):
        assert no_suid, path
        assert read_only or path in {"/tmp", "/proc"}, path


def test_no_program_with_more_rights(plugin: Plugin) -> None:
    """A program with the set-user-id bit runs as the worker."""
    plugin.write("id", Path("/usr/bin/id").read_bytes()).chmod(0o6755)
    expression = "__import__('subprocess').check_output([os.getcwd() + '/id', '-u'], text=True)"

    assert seen(plugin, expression) == "1000\n"


def test_programs_work(plugin: Plugin) -> None:
    """Programs of the system and of the interpreter can be executed, and find what they need."""
    expression = """[
        __import__('subprocess').check_output(['sh', '-c', 'echo $((6 * 7)) | tr 4 x'], text=True),
        __import__('subprocess').check_output([sys.executable, '-c', 'import ssl, werkzeug; print(werkzeug.__name__)'],
            text=True),
    ]"""

    assert seen(plugin, " ".join(expression.split())) == ["x2\n", "werkzeug\n"]


def test_trees_are_where_they_are_on_the_host(root: Path, tmp_path: Path) -> None:
    """Folders, files and symbolic links are shown at their paths, missing ones left out."""
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below/file").write_text("text")
    (tmp_path / "single").write_text("single")
    (tmp_path / "relative").symlink_to("tree/below")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    (tmp_path / "second").symlink_to("tree")

    def look() -> list[object]:
        return [
            (tmp_path / "relative/file").read_text(),
            (tmp_path / "first/below/file").read_text(),
            (tmp_path / "single").read_text(),
            sorted(path.name for path in tmp_path.iterdir()),
        ]

    names = ("tree", "single", "relative", "first", "missing")
    shown = ["first", "plugin", "relative", "single", "tree"]
    assert in_view(root, look, *(tmp_path / name for name in names)) == ["text", "text", "single", shown]


def test_everything_mounted_below_is_locked(root: Path) -> None:
    """File systems that are mounted below a tree are shown with it, and as read-only as it is."""
    (root / "mounted").mkdir()

    def build() -> list[object]:
        mount("test", str(root / "mounted"), "tmpfs")
        (root / "mounted/file").write_text("text")
        build_view(interpreter_trees(), str(root), copy_private=False)
        flags = os.statvfs(root / "mounted").f_flag
        return [(root / "mounted/file").read_text(), bool(flags & os.ST_RDONLY), bool(flags & os.ST_NOSUID)]

    assert in_user_namespace(CLONE_NEWNS | CLONE_NEWPID, build) == ["text", True, True]


def test_host_is_left_alone(root: Path) -> None:
    """Building a view changes nothing of what other processes see."""
    before = Path("/proc/self/mountinfo").read_text()
    assert in_view(root, lambda: len(list(Path("/").iterdir()))) > 3
    assert Path("/proc/self/mountinfo").read_text() == before


def make_private(root: Path) -> None:
    """Fill a folder with what a copy has to care about, for nobody else to read."""
    (root / "below").mkdir(mode=0o700)
    (root / "below/private.py").write_text("x = 1")
    (root / "below/private.py").chmod(0o600)
    (root / "program").write_text("#!/bin/sh\n")
    (root / "program").chmod(0o4700)
    (root / "link").symlink_to("below/private.py")
    (root / "dangling").symlink_to("/etc/shadow")
    os.mkfifo(root / "pipe", 0o600)
    root.chmod(0o700)


def test_private_folder_is_copied(root: Path) -> None:
    """A folder that is not open to everybody is copied, readable for all, writable for nobody; the pipe is left out."""
    make_private(root)

    def look() -> dict[str, object]:
        modes = {
            str(path.relative_to(root)): oct(stat.S_IMODE(path.lstat().st_mode))
            for path in [root, *root.rglob("*")]
            if not path.is_symlink()
        }
        flags = os.statvfs(root).f_flag
        return modes | {
            "text": (root / "link").read_text(),
            "link": str((root / "dangling").readlink()),
            "locked": flags & (os.ST_RDONLY | os.ST_NOSUID) == os.ST_RDONLY | os.ST_NOSUID,
        }

    assert in_view(root, look, copy_private=True) == {
        ".": "0o555",
        "below": "0o555",
        "below/private.py": "0o444",
        "program": "0o444",
        "text": "x = 1",
        "link": "/etc/shadow",
        "locked": True,
    }
    assert (root / "pipe").exists(), "the folder itself is as it was"


@pytest.mark.parametrize("private", ["folder", "file"])
def test_one_private_file_is_enough(root: Path, private: str) -> None:
    """One folder or file that others may not read makes the whole a private one; links do not count."""
    (root / "file").write_text("x")
    (root / "link").symlink_to("/etc/shadow")

    def is_copy() -> bool:
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return [line[-2] for line in mounts if line[4] == str(root.resolve())] == ["plugin"]

    assert not in_view(root, is_copy, copy_private=True)
    if private == "folder":
        (root / "below").mkdir(mode=0o750)
    else:
        (root / "file").chmod(0o640)
    assert in_view(root, is_copy, copy_private=True)
    assert not in_view(root, is_copy, copy_private=False), "a user who may read it needs no copy"


def test_private_folder_that_is_too_large(root: Path) -> None:
    """A private folder that would fill the memory is refused, with the remedy."""
    root.chmod(0o700)
    with (root / "file").open("wb") as file:
        file.truncate(MAX_COPY + 1)

    def build() -> str:
        with pytest.raises(ViewError) as raised:
            build_view(interpreter_trees(), str(root), copy_private=True)
        return str(raised.value)

    text = in_user_namespace(CLONE_NEWNS | CLONE_NEWPID, build)
    assert f"too large to be copied (at most {MAX_COPY}): chmod -R o+rX {root}" in text


def test_private_plugin_is_served(own_base: BaseZygote, root: Path) -> None:
    """A plugin folder of mode 0700 is readable by workers, and stays what it is on the host."""
    zygote = own_base.fork_zygote(plugin_root=make_endpoint_private(root))
    zygote.wait_ready()
    plugin = Plugin(zygote, root)

    answer = plugin.call()

    assert answer.body == b"helper"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    zygote.close()
    own_base.report(Exited, zygote.id)


def make_endpoint_private(root: Path) -> Path:
    """Write an endpoint that imports another file, both for their owner alone."""
    (root / "helper.py").write_text("name = 'helper'\n")
    (root / "endpoints").mkdir(mode=0o700)
    (root / "endpoints/main.py").write_text(
        "from helper import name\nfrom werkzeug import Response\nfrom dify_plugin import Endpoint\n"
        "class Main(Endpoint):\n    def _invoke(self, r, values, settings): return Response(name)\n"
    )
    for path in (root / "helper.py", root / "endpoints/main.py"):
        path.chmod(0o600)
    root.chmod(0o700)
    return root


def test_interpreter_trees() -> None:
    """What the interpreter imports from is listed, and no folder that would show everything."""
    trees = interpreter_trees()

    assert {sys.prefix, *filter(os.path.isabs, sys.path)} - {"/usr", "/"} <= set(trees)
    assert not {"/", "/usr"} & set(trees)
    assert len(trees) == len(set(trees))


def test_needs_rights() -> None:
    """Without a mount namespace of one's own the kernel refuses, and the error names the call."""

    def build() -> str:
        if AS_ROOT:
            os.setresuid(65534, 65534, 65534)
        with pytest.raises(PermissionError) as raised:
            build_view((), "", copy_private=False)
        return str(raised.value)

    assert in_child(build) == "[Errno 1] mount /: Operation not permitted"

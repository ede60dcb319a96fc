"""Builds that attack: source distributions whose build tries what it must not get away with.

Each is built by `build_driver` in a process of its own, as root and as an ordinary user. An attack ends its build with
text that begins with GOT when it has got something; otherwise it goes on, and there is an environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.environments import NOBODY, python_for
from tests.executor.environments.packages import Index

__all__ = ["BUILD_ATTACKS", "BuildAttack", "Built", "Place", "open_place"]

CANARY: Final = "BUILD_CANARY"
ROOT: Final = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class BuildAttack:
    """One attack.

    Attributes:
        name: Names the threat.
        code: Python, run by the build backend; `{...}` stands for what an attacker could wish to know.
        off: Layers without which it must succeed; empty where the proof is another one.
        limits: Limits of the build under which it must be contained.
        ends: What the error must say when it is contained; empty where the build must succeed.
        only_root: Whether only builds of root have what it wants: rootless there is no other id.
        enough: Limits under which it gets what it wants.
    """

    name: str
    code: str
    off: tuple[str, ...] = ()
    limits: Mapping[str, object] = field(default_factory=dict)
    ends: str = ""
    only_root: bool = False
    enough: Mapping[str, object] = field(default_factory=dict)


def _try(body: str) -> str:
    """Let an attack that is refused go on."""
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    return f"import os, socket, sys, time\ntry:\n{indented}\nexcept OSError:\n    pass"


_SWAP: Final = """
import glob, os, shutil, sys
target = {target!r}
if 'import dify_plugin' in sys.orig_argv:
    for found in glob.glob(target + '/cache/uv/interpreter-*'):
        shutil.rmtree(found)
    open(target + '/cache/flag', 'w').close()
elif os.path.exists(target + '/cache/flag') and not os.path.islink(target + '/venv'):
    os.rename(target + '/venv', target + '/cache/venv')
    os.symlink({others!r}, target + '/venv')
"""
"""Run at each start of Python in the environment; in the last one, of `uv pip freeze`, it puts a link in its place."""

_GOT: Final = "raise SystemExit('GOT ' + {})"

BUILD_ATTACKS: Final = (
    BuildAttack("read_a_file_of_the_host", _try(_GOT.format("open({lure!r}).read()")), off=("mount_namespace",)),
    BuildAttack("read_the_state_directory", _try(_GOT.format("open({state!r}).read()")), off=("mount_namespace",)),
    BuildAttack(
        "read_password_hashes_and_keys",
        _try(
            "for path in ('/etc/shadow', '/root/.ssh/id_rsa', '/etc/ssh/ssh_host_rsa_key', '/root/.bashrc'):\n"
            "    if os.access(path, os.R_OK):\n"
            "        " + _GOT.format("path")
        ),
    ),
    BuildAttack(
        "write_outside",
        _try("open({outside!r}, 'a').write('was here')\n" + _GOT.format("'a file of the host'")),
        off=("mount_namespace", "landlock"),
    ),
    BuildAttack(
        "write_into_the_view",
        _try(
            "for folder in ('', '/usr/lib', '/etc', sys.prefix, sys.base_prefix + '/lib', '/dev', '/proc'):\n"
            "    path = folder + '/x'\n"
            "    if not path.startswith({target!r}):\n"
            "        try:\n"
            "            open(path, 'w').close()\n"
            "        except OSError:\n"
            "            continue\n"
            "        " + _GOT.format("path")
        ),
    ),
    BuildAttack(
        "reach_a_service_of_the_host",
        _try("link = socket.create_connection(('127.0.0.1', {port}), 5)\n" + _GOT.format("link.recv(100).decode()")),
        off=("network_namespace", "landlock"),
    ),
    BuildAttack(
        "reach_an_abstract_socket",
        _try(
            "link = socket.socket(socket.AF_UNIX)\nlink.connect({abstract!r})\n"
            + _GOT.format("link.recv(100).decode()")
        ),
        off=("network_namespace", "landlock"),
    ),
    BuildAttack(
        "find_another_interface",
        _try(
            "names = [line.split(':')[0].strip() for line in open('/proc/self/net/dev') if ':' in line]\n"
            "if set(names) - {{'lo'}}:\n    " + _GOT.format("' '.join(names)")
        ),
    ),
    BuildAttack(
        "reach_other_hosts",
        _try(
            "for address in ('192.0.2.1', '10.0.0.1', '169.254.169.254'):\n"
            "    try:\n"
            "        socket.create_connection((address, 80), 5)\n"
            "    except OSError:\n"
            "        continue\n"
            "    " + _GOT.format("address")
        ),
    ),
    BuildAttack(
        "use_the_index_as_a_relay",
        _try(
            "from urllib.request import urlopen\n"
            "base = os.environ['UV_DEFAULT_INDEX'].rsplit('/i/', 1)[0]\n"
            "for path in ('/', '/i/0/', '/i/0/../../etc/', '/i/0/dify-plugin/%2e%2e%2fsecret', '/i/7/duck/', '/l/0/x', "
            "'/i/0/dify-plugin/../../lure'):\n"
            "    try:\n"
            "        found = urlopen(base + path).read()\n"
            "    except OSError:\n"
            "        continue\n"
            "    " + _GOT.format("path")
        ),
    ),
    BuildAttack(
        "find_secrets_in_environments",
        _try(
            "import glob\n"
            "for path in glob.glob('/proc/[0-9]*/environ'):\n"
            "    try:\n"
            "        found = open(path).read()\n"
            "    except OSError:\n"
            "        continue\n"
            "    if {canary!r} in found:\n"
            "        " + _GOT.format("path")
        ),
    ),
    BuildAttack(
        "see_other_processes",
        _try(
            "names = {{int(name) for name in os.listdir('/proc') if name.isdigit()}}\n"
            "if {pid} in names:\n    " + _GOT.format("'the executor'")
        ),
    ),
    BuildAttack(
        "kill_process_1",
        _try("os.kill(1, 9)\ntime.sleep(0.2)\nos.kill(1, 15)"),
    ),
    BuildAttack(
        "become_root",
        _try("os.setuid(0)\n" + _GOT.format("str(os.getuid())")),
        off=("unprivileged_user", "capabilities", "seccomp"),
        only_root=True,
    ),
    BuildAttack(
        "use_what_builds_do_not_need",
        _try(
            "import ctypes\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "if libc.inotify_init() >= 0:\n    " + _GOT.format("'a descriptor of inotify'")
        ),
        off=("seccomp",),
    ),
    BuildAttack(
        "fork_without_end",
        _try(
            "for count in range(200):\n"
            "    if os.fork() == 0:\n"
            "        time.sleep(60)\n"
            "        os._exit(0)\n" + _GOT.format("'200 processes'")
        ),
        limits={"processes": 64},
        enough={"processes": 1000},
    ),
    BuildAttack(
        "fill_the_disk",
        _try(
            "folder = os.environ['TMPDIR']\n"
            "for count in range(40):\n"
            "    open(folder + '/' + str(count), 'wb').write(bytes(4 << 20))\n"
            "    time.sleep(0.1)\n" + _GOT.format("'160 MiB'")
        ),
        limits={"disk": "40 MiB"},
        ends="environments.limits.disk",
        enough={"disk": "1 GiB"},
    ),
    BuildAttack(
        "fill_the_disk_where_nobody_looks",
        _try(
            "folder = os.environ['TMPDIR'] + '/hidden'\n"
            "os.mkdir(folder, 0o300)\n"
            "for count in range(40):\n"
            "    open(folder + '/' + str(count), 'wb').write(bytes(4 << 20))\n"
            "    time.sleep(0.1)\n" + _GOT.format("'160 MiB'")
        ),
        limits={"disk": "40 MiB"},
        ends="environments.limits.disk",
    ),
    BuildAttack(
        "make_files_without_end",
        _try(
            "folder = os.environ['TMPDIR']\n"
            "for count in range(20000):\n"
            "    open(folder + '/' + str(count), 'wb').close()\n"
            "    time.sleep(0.1 if count % 1000 == 0 else 0)\n"
            "time.sleep(2)\n" + _GOT.format("'20000 files'")
        ),
        limits={"files": 5000},
        ends="environments.limits.files",
        enough={"files": 100_000},
    ),
    BuildAttack(
        "take_all_memory",
        _try("try:\n    taken = bytearray(500 << 20)\nexcept MemoryError:\n    raise OSError from None\n")
        + "\nelse:\n    "
        + _GOT.format("str(len(taken))"),
        limits={"memory": "300 MiB"},
        enough={"memory": "1 GiB"},
    ),
    BuildAttack(
        "say_nothing_for_ever",
        "import time\nwhile True:\n    time.sleep(1)",
        limits={"silent_time": "3s"},
        ends="environments.limits.silent_time",
    ),
    BuildAttack(
        "go_on_for_ever",
        "import os, time\nfrom urllib.request import urlopen\nwhile True:\n"
        "    try:\n        urlopen(os.environ['UV_DEFAULT_INDEX'] + '/duck/').read()\n"
        "    except OSError:\n        pass\n    time.sleep(0.2)",
        limits={"silent_time": "60s", "total_time": "8s"},
        ends="environments.limits.total_time",
    ),
    BuildAttack(
        "replace_the_interpreter",
        "import os, shutil\n"
        "python = {target!r} + '/venv/bin/python'\n"
        "shutil.copy2(os.path.realpath(python), python + '.new')\n"
        "os.replace(python + '.new', python)",
        ends="has replaced the interpreter",
    ),
    BuildAttack(
        "put_a_link_in_place_of_the_environment",
        "import glob\n"
        "(packages,) = glob.glob({target!r} + '/venv/lib/python3.*/site-packages')\n"
        f"open(packages + '/evil.txt', 'w').write({_SWAP!r})\n"
        "evil = packages + '/evil.txt'\n"
        "open(packages + '/evil.pth', 'w').write('import sys; exec(open(' + repr(evil) + ').read())')",
        ends="has replaced the folder",
    ),
    BuildAttack(
        "leave_a_pipe",
        "import os\nos.mkfifo({target!r} + '/venv/lib/pipe')",
        ends="neither file, folder nor link",
    ),
    BuildAttack(
        "leave_a_link_to_a_file_of_the_host",
        "import os\n"
        "os.symlink({outside!r}, {target!r} + '/venv/lib/link')\n"
        "os.symlink({folder!r}, {target!r} + '/venv/lib/links')",
    ),
    BuildAttack(
        "leave_a_folder_that_cannot_be_read",
        "import os\n"
        "for folder in (os.environ['TMPDIR'], {target!r}, {target!r} + '/project'):\n"
        "    os.makedirs(folder + '/hidden/inner')\n"
        "    open(folder + '/hidden/file', 'w').close()\n"
        "    os.chmod(folder + '/hidden', 0)",
        limits={"disk": "1 GiB"},
    ),
    BuildAttack(
        "leave_a_process",
        "from subprocess import DEVNULL, Popen\n"
        "import sys\n"
        "command = [sys.executable, '-c', 'import time; time.sleep(600)', {token!r}]\n"
        "Popen(command, start_new_session=True, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)",
    ),
)


@dataclass(frozen=True, slots=True)
class Built:
    """What came of a build.

    Attributes:
        error: Why there is no environment; empty when there is one.
        lines: What was told.
    """

    error: str
    lines: tuple[str, ...]

    @property
    def got(self) -> str:
        """What an attack has said that it got."""
        found = self.error.find("GOT ")
        return self.error[found:].splitlines()[0] if found >= 0 else ""


class Place:
    """A host with things on it that builds must not get at.

    Args:
        folder: That anybody may enter.
        user: Who builds; None for who runs the tests.
    """

    def __init__(self, folder: Path, user: int | None) -> None:
        self.folder = folder
        self._user = user
        self.rootless = user is not None or os.geteuid() != 0
        self._python = python_for(folder) if user is not None else sys.executable
        self.canary = f"CANARY-{secrets.token_hex(8)}"
        self.token = f"ee-left-{secrets.token_hex(8)}"
        self.lure = folder / "lure"
        self.outside = folder / "outside"
        self.others = folder / "others"
        for file in (self.lure, self.outside):
            file.write_text(self.canary)
        self.outside.chmod(0o666)
        self._state = folder / "state"
        self._state.mkdir(mode=0o755)
        (self._state / "secret").write_text(self.canary)
        for path in (folder, self._state):
            path.chmod(0o755)
        if user is not None:
            os.chown(self._state, user, user)
        self._abstract = f"\0ee-build-{secrets.token_hex(8)}"
        self._listeners = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
        self._listeners[1].bind(self._abstract)
        self._listeners[1].listen()
        self._port = self._listeners[0].getsockname()[1]
        for listener in self._listeners:
            threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """Close what listens."""
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def build(self, attack: BuildAttack, limits: Mapping[str, object], off: Sequence[str] = ()) -> Built:
        """Build an environment from a source distribution that attacks, and a plugin that asks for it."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            work = Path(name)
            work.chmod(0o755)
            plugin = work / "plugin"
            plugin.mkdir(mode=0o755)
            (plugin / "requirements.txt").write_text("dify_plugin\nevil\n")
            index = Index(work / "index")
            task = {
                "plugin": str(plugin),
                "state": str(self._state),
                "off": list(off),
                "index": index.url,
                "limits": dict(limits),
            }
            asked = self._driver({**task, "ask": True})
            self._lay_out_others(asked["python"])
            index.add_sdist("evil", self._fill(attack.code, asked["target"]))
            answer = self._driver(task)
        return Built(answer["error"], tuple(answer["lines"]))

    def _lay_out_others(self, python: str) -> None:
        """Have an environment of somebody else, with the same interpreter."""
        self.others.joinpath("bin").mkdir(parents=True, exist_ok=True)
        link = self.others / "bin" / "python"
        link.unlink(missing_ok=True)
        link.symlink_to(python)

    def _fill(self, code: str, target: str) -> str:
        """Let an attack know what it could wish to know."""
        known = {
            "lure": str(self.lure),
            "outside": str(self.outside),
            "folder": str(self.folder),
            "others": str(self.others),
            "state": str(self._state / "secret"),
            "port": self._port,
            "abstract": self._abstract,
            "canary": self.canary,
            "pid": os.getpid(),
            "target": target,
            "token": self.token,
        }
        return code.format(**known)

    def _driver(self, task: Mapping[str, object]) -> dict[str, Any]:
        command = [self._python, "-m", "tests.sandbox.build_driver", json.dumps(task)]
        identity: dict[str, Any] = {}
        if self._user is not None:
            identity = {"user": self._user, "group": self._user, "extra_groups": []}
        done = subprocess.run(
            command,
            env={"PATH": os.environ["PATH"], "HOME": str(self._state), CANARY: self.canary, "PYTHONPATH": str(ROOT)},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            check=True,
            timeout=240,
            **identity,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = listener.accept()
                with link, contextlib.suppress(OSError):
                    link.sendall(self.canary.encode())


@contextlib.contextmanager
def open_place(*, rootless: bool) -> Iterator[Place]:
    """Have a place for builds of root, or of an ordinary user."""
    with tempfile.TemporaryDirectory(prefix="sandbox-builds-") as name:
        place = Place(Path(name), NOBODY if rootless and os.geteuid() == 0 else None)
        try:
            yield place
        finally:
            place.close()

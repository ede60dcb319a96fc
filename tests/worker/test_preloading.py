"""Imports for a plugin's workers: they are there, nobody can tell, and what a fork would break is left alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import pytest

from protocol import clip
from tests.worker.driver import BaseZygote, Plugin
from worker.preloading import MAX_REASON

HEADER: Final = "import os, sys\n"

THREAD: Final = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
AWARE: Final = f"{THREAD}".replace("threading.Event().wait", "stop.wait").replace(
    "import threading\n",
    """
import os, threading
stop = threading.Event()
def end():
    stop.set()
    [thread.join() for thread in threading.enumerate() if thread is not threading.main_thread()]
os.register_at_fork(before=end)
""",
)
"""A module with a thread that ends before a fork."""


class Case:
    """A plugin whose zygote imports modules of a folder.

    Args:
        base: Where its zygote comes from.
        folder: For the plugin and the modules.
    """

    def __init__(self, base: BaseZygote, folder: Path) -> None:
        self._base = base
        self.packages = folder / "packages"
        self.packages.mkdir(mode=0o755)
        self.root = folder / "plugin"
        self.root.mkdir(mode=0o755)

    def module(self, name: str, text: str) -> None:
        """Write a module that can be imported."""
        (self.packages / f"{name}.py").write_text(text)

    def start(self, *imports: str) -> Plugin:
        """Start the plugin."""
        zygote = self._base.fork_zygote(plugin_root=self.root, sys_path=[str(self.packages)], imports=imports)
        zygote.wait_ready()
        return Plugin(zygote, self.root)

    def ask(self, plugin: Plugin, expression: str, *, top: str = HEADER) -> str:
        """What an expression is in a worker of the plugin."""
        plugin.endpoint(f"return Response(str(({expression})))", top=top)
        answer = plugin.call()
        return answer.body.decode()


@pytest.fixture
def case(own_base: BaseZygote, tmp_path: Path) -> Case:
    """A plugin to be started."""
    return Case(own_base, tmp_path)


def end(plugin: Plugin) -> None:
    """Close our ends of a plugin's workers, slots and zygote."""
    plugin.close()
    plugin.zygote.close()


def test_workers_find_what_was_imported(case: Case) -> None:
    """Modules, and modules that are names of packages; each is run once, in the zygote."""
    case.module("single", "import os\npid = os.getpid()")
    (case.packages / "package").mkdir(mode=0o755)
    case.module("package/__init__", "")
    case.module("package/inner", "import os\npid = os.getpid()")
    case.module("attribute", "value = 1")
    plugin = case.start("single", "package:inner", "attribute:value")

    assert plugin.zygote.ready["imports"] == ["single", "package:inner", "attribute:value"]
    assert case.ask(plugin, "single.pid, inner.pid", top="import single\nfrom package import inner") == "(1, 1)"
    end(plugin)


def test_what_is_not_there_is_left_to_workers(case: Case) -> None:
    """It is no failure of the zygote: sources try one module, then another, and a worker says what is missing."""
    case.module("fine", "")
    (case.packages / "package").mkdir(mode=0o755)
    case.module("package/__init__", "")
    plugin = case.start("no_such", "no_such.deep:name", "package.missing", "json:no_such", "fine")

    assert plugin.zygote.ready["imports"] == ["json:no_such", "fine"]
    assert plugin.zygote.ready["unfit"] == ""
    plugin.endpoint(
        "return Response(str(seen))", top="try:\n    import no_such\nexcept ImportError as e:\n    seen = e"
    )
    assert plugin.call().body == b"No module named 'no_such'"
    end(plugin)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (THREAD, "it has started a thread"),
        ("import os\nif os.fork() == 0:\n    os.execv('/bin/sleep', ['sleep', '9'])", "it has started a process"),
        ("file = open('/dev/null')", "it has opened a file or a socket"),
        ("import os\nos.environ['LATER'] = '1'", "it has changed the environment"),
        ("import signal\nsignal.signal(signal.SIGUSR1, print)", "it has changed what a signal does"),
        ("import os\nos.chdir('/usr')", "it has changed the working directory"),
        ("import logging\nlogging.getLogger().setLevel(logging.ERROR)", "it has changed what is logged"),
        ("import logging\nlogging.basicConfig(force=True)", "it has changed what is logged"),
        ("raise RuntimeError('no network')", "it raised RuntimeError: no network"),
        ("raise SystemExit(3)", "it raised SystemExit: 3"),
        ("import no_such", "it raised ModuleNotFoundError: No module named 'no_such'"),
        (f"raise ValueError('{'x' * 2000}')", clip(f"it raised ValueError: {'x' * 2000}", MAX_REASON)),
    ],
)
def test_what_a_fork_would_not_hand_on(case: Case, text: str, reason: str) -> None:
    """The zygote says which import it was, and why; nothing after it is imported."""
    case.module("unfit", text)
    case.module("after", "")
    plugin = case.start("json", "unfit", "after")

    report = plugin.zygote.ready
    assert [report[key] for key in ("imports", "unfit", "reason")] == [["json"], "unfit", reason]
    end(plugin)


def test_logging_while_it_is_imported(case: Case) -> None:
    """As in a worker, it is sent once: with nobody there to log, Python would set up a second place for it."""
    case.module("talks", "import logging\nlogging.warning('early')\nlogging.basicConfig(level=logging.DEBUG)")
    plugin = case.start("talks")

    assert plugin.zygote.ready["unfit"] == ""
    plugin.endpoint(
        "logging.warning('once'); return Response(str(len(logging.root.handlers)))", top="import logging, talks"
    )
    answer = plugin.call()
    assert answer.body == b"1"
    assert b"once" not in answer.stderr
    end(plugin)


def test_threads_of_those_who_know_of_forks(case: Case) -> None:
    """OpenBLAS, and with it numpy, ends its threads before a fork, and starts others when it needs them."""
    case.module("aware", AWARE)
    plugin = case.start("aware")

    assert [plugin.zygote.ready[key] for key in ("imports", "unfit")] == [["aware"], ""]
    assert case.ask(plugin, "len(os.listdir('/proc/self/task'))") == "1"
    end(plugin)


def test_the_event_loop_of_the_sdk(case: Case) -> None:
    """Taking a lock is enough for gevent to open it: it is ended, as after the import of the SDK, and no obstacle."""
    (case.packages / "gevent").mkdir(mode=0o755)
    case.module("gevent/__init__", "from gevent import _hub_local")
    case.module(
        "gevent/_hub_local",
        """
import os

class Hub:
    def destroy(self, *, destroy_loop):
        global hub
        os.close(self.descriptor)
        hub = None

hub = None

def get_hub_if_exists():
    return hub
""",
    )
    case.module(
        "locks",
        """
import os
from gevent import _hub_local

_hub_local.hub = _hub_local.Hub()
_hub_local.hub.descriptor = os.open("/dev/null", os.O_RDONLY)
""",
    )
    plugin = case.start("locks")

    assert [plugin.zygote.ready[key] for key in ("imports", "unfit")] == [["locks"], ""]
    end(plugin)


def test_looks_like_a_worker(case: Case) -> None:
    """What modules look at while they are imported is what they would find in a worker."""
    case.module("curious", "import os, sys\nseen = [os.environ['HOME'], os.environ['TMPDIR'], os.getcwd(), sys.argv]")
    now = "[os.environ['HOME'], os.environ['TMPDIR'], os.getcwd(), sys.argv]"
    plugin = case.start("curious")

    assert case.ask(plugin, f"curious.seen == {now}, {now}", top=f"{HEADER}import curious").startswith("(True, ['/tmp'")
    end(plugin)


def test_the_plugin_comes_first(case: Case) -> None:
    """A module of its own is what it gets, even where a library has found another one by that name."""
    case.module("library", "import shared\nname = shared.name")
    case.module("shared", "name = 'of the library'")
    (case.root / "shared.py").write_text("name = 'of the plugin'")
    plugin = case.start("library", "shared")

    top = "import library, shared"
    assert case.ask(plugin, "library.name, shared.name", top=top) == "('of the library', 'of the plugin')"
    end(plugin)


def test_random_numbers_differ(case: Case) -> None:
    """What a module has seeded by chance gives each worker other numbers; with a seed, the same ones."""
    case.module("dice", "import random\nfree, fixed = random.Random(), random.Random(7)")
    plugin = case.start("dice")

    throws = [case.ask(plugin, "dice.free.random(), dice.fixed.random()", top="import dice") for _ in range(3)]
    free, fixed = zip(*(throw.strip("()").split(", ") for throw in throws), strict=True)
    assert len(set(free)) == 3
    assert set(fixed) == {str(random.Random(7).random())}
    end(plugin)

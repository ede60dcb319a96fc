"""Rehearsals: that they warm up what workers use, leave nothing behind, and stop nobody."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.driver import BaseZygote, Plugin, wait_readable
from tests.worker.forked import in_child, open_descriptors
from worker import rehearsal
from worker.environment import Answering, Runtime
from worker.invoke import answer, serve
from worker.loader import STAGE, Loader, provide_sdk
from worker.rehearsal import rehearse
from worker.session import _find_session_class

RUNTIME = Runtime(serve=serve, answer=answer)
ERRORS = [RuntimeError("some"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()]


def state() -> list[object]:
    """What a rehearsal must leave as it was."""
    return [
        [*sys.path],
        sorted(name for name in sys.modules if name.partition(".")[0] == "endpoints"),
        [path for path in sys.path_importer_cache if STAGE in path],
        [*map(id, sys.meta_path)],
        open_descriptors(),
        sys.argv,
        str(Path.cwd()),
    ]


def compare(answering: Answering = answer) -> list[object]:
    """Whether everything is after a rehearsal as it was before, and how many requests were begun."""
    provide_sdk()
    begun: list[str] = []
    play = rehearsal._play

    def count(loader: Loader, method: str, answer: Answering) -> None:
        begun.append(method)
        play(loader, method, answer)

    rehearsal._play = count
    before = state()
    rehearse(Runtime(serve=serve, answer=answering))
    return [state() == before, len(begun)]


@pytest.fixture(autouse=True)
def forget_session_class() -> Iterator[None]:
    """Have no other test find the class that was used here."""
    yield
    _find_session_class.cache_clear()


def test_nothing_is_left(capfd: pytest.CaptureFixture[str]) -> None:
    """Import path, modules, caches of the import system, descriptors and the rest are as they were; nothing is said."""
    assert in_child(compare) == [True, 2 * (1 + rehearsal.ROUNDS)]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["answer", "_request", "_hear"])
def test_failure_is_no_failure_of_the_zygote(
    error: BaseException, where: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever is raised, wherever, is told; nothing is left of it, and the rehearsal is over."""

    def fail(*_arguments: object, **_named: object) -> None:
        raise error

    if where == "answer":
        assert in_child(lambda: compare(fail)) == [True, 1]
    else:
        monkeypatch.setattr(rehearsal, where, fail)
        assert in_child(compare) == [True, 1]
    assert type(error).__name__ in capfd.readouterr().err


def test_modules_of_that_name_stay(tmp_path: Path) -> None:
    """A trusted module that happens to have the name of the stage's package is not taken away."""
    (tmp_path / "endpoints.py").write_text("mine = True\n")

    def run() -> list[object]:
        sys.path.insert(0, str(tmp_path))
        sys.modules.pop("endpoints", None)  # of a plugin that another test has imported
        import endpoints  # type: ignore[import-not-found]

        rehearse(RUNTIME)
        return [sys.modules["endpoints"] is endpoints, endpoints.mine]

    assert in_child(run) == [True, True]


def test_lookups_are_remembered() -> None:
    """What every worker would have to find, such as the class of the session, has been found."""

    def run() -> list[int]:
        provide_sdk()
        _find_session_class.cache_clear()
        rehearse(RUNTIME)
        return [_find_session_class.cache_info().misses, _find_session_class.cache_info().hits]

    misses, hits = in_child(run)
    assert (misses, hits > 10) == (1, True)


def test_plugin_has_its_own_package(plugin: Plugin) -> None:
    """The package `endpoints` that a plugin finds is its own, not that of the stage."""
    plugin.write("endpoints/__init__.py", "mine = 'of the plugin'\n")
    plugin.write("endpoints/helper.py", "name = __name__\n")
    plugin.endpoint(
        "import endpoints.helper as h; return Response(f'{endpoints.mine} {h.name}')", top="import endpoints"
    )

    assert plugin.call().body == b"of the plugin endpoints.helper"


def make_sdk(folder: Path, text: str) -> None:
    """Write an SDK that is not one."""
    (folder / "dify_plugin").mkdir(parents=True)
    (folder / "dify_plugin/__init__.py").write_text(text)
    folder.chmod(0o755)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", b"ImportError"),
        (
            "raise_on_use = True\nclass Endpoint:\n    def __init__(self, session): raise SystemExit(9)\n",
            b"dify_plugin.core",
        ),
    ],
)
def test_sdk_with_which_nothing_works(own_base: BaseZygote, tmp_path: Path, text: str, told: bytes) -> None:
    """A zygote whose SDK cannot answer anything becomes ready all the same, and says why on descriptor 2."""
    make_sdk(tmp_path / "trusted", text)
    zygote = own_base.fork_zygote(sys_path=[str(tmp_path / "trusted")])
    report = zygote.wait_ready()

    wait_readable(own_base.stderr_fd)
    said = os.read(own_base.stderr_fd, 65536)
    assert b"the rehearsal failed" in said
    assert told in said
    assert report["preload"] == ["dify_plugin"]
    zygote.fork_slot().close()
    zygote.close()


def test_no_sdk_no_rehearsal(own_base: BaseZygote, tmp_path: Path) -> None:
    """Where the SDK is not among what a zygote imports, it is not imported for a rehearsal either."""
    root = tmp_path / "plugin"
    root.mkdir(mode=0o755)
    zygote = own_base.fork_zygote(preload=[], plugin_root=root)
    zygote.wait_ready()
    plugin = Plugin(zygote, root)
    plugin.write(
        "endpoints/main.py",
        """
        import sys
        loaded = "dify_plugin" in sys.modules
        from dify_plugin import Endpoint
        from werkzeug import Response
        class Main(Endpoint):
            def _invoke(self, r, values, settings):
                return Response(str(loaded))
        """,
    )

    assert plugin.call().body == b"False"
    zygote.close()


@pytest.mark.parametrize("way", ["dies", "hangs"])
def test_a_watched_worker_that_fails(
    way: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is told, nothing of it is left, and the rehearsal is over soon."""

    def fail(_birth: object) -> int:
        if way == "hangs":
            signal.pause()
        os._exit(3)

    def run() -> list[object]:
        begun = compare()
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, 0)
        return begun

    monkeypatch.setattr(rehearsal, "WATCH_MS", 50)
    monkeypatch.setattr(rehearsal, "_be_watched", fail)
    assert in_child(run) == [True, 2]
    assert "did not end well" in capfd.readouterr().err

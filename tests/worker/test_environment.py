"""Zygotes of plugins that have an environment of their own: what they import, from where, and what they do not see."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol import ForkFailed
from tests.environments import build_environment, find_pythons, plant
from tests.worker.driver import AS_ROOT, BaseZygote, Plugin
from worker.loader import STAND_IN

OLD = ("werkzeug==2.3.8", "msgpack==1.0.5")
"""Other versions than ours."""

Make = Callable[..., Plugin]


@pytest.fixture(scope="module")
def environment() -> Path:
    """An environment for our version of Python, without an SDK."""
    return build_environment(*OLD)


def interpreter_of(environment: Path) -> Path:
    """The program that its interpreter is a link to."""
    return (environment / "bin/python").resolve()


@pytest.fixture
def make() -> Iterator[Make]:
    """Starts the zygote of a plugin in an environment."""
    with contextlib.ExitStack() as stack:

        def start(environment: Path, **given: Any) -> Plugin:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            folder.chmod(0o755)
            base = BaseZygote(interpreter=interpreter_of(environment))
            stack.callback(base.close)
            base.wait_ready()
            zygote = base.fork_zygote(plugin_root=folder, environment=environment, **given)
            zygote.wait_ready()
            plugin = Plugin(zygote, folder)
            stack.callback(end, plugin)
            return plugin

        yield start


def end(plugin: Plugin) -> None:
    """Close our ends of a plugin's workers, slots and zygote."""
    for worker in plugin.workers:
        worker.close()
    plugin.zygote.close()


def test_the_environment_is_the_plugins_own(environment: Path, make: Make) -> None:
    """It imports its own werkzeug and msgpack, and `sys` tells of the environment as its own interpreter would."""
    plugin = make(environment)
    plugin.endpoint(
        """
        import importlib.metadata, msgpack, werkzeug
        return Response(json.dumps({
            "werkzeug": [importlib.metadata.version("werkzeug"), werkzeug.__file__],
            "msgpack": [msgpack.version, msgpack.__file__],
            "sys": [sys.prefix, sys.executable, sys.base_prefix == sys.prefix],
            "base": sys.base_prefix,
            "path": sys.path[1:],
            "builtins": [callable(exit), callable(quit)],
        }))
        """
    )
    seen = json.loads(plugin.call().body)

    packages = next((environment / "lib").glob("python3.*")) / "site-packages"
    assert seen["werkzeug"] == ["2.3.8", f"{packages}/werkzeug/__init__.py"]
    assert seen["msgpack"] == [[1, 0, 5], f"{packages}/msgpack/__init__.py"]
    assert seen["sys"] == [str(environment), f"{environment}/bin/python", False]
    standard = [path for path in seen["path"] if path.startswith(seen["base"])]
    assert seen["path"] == [*standard, str(packages), STAND_IN]
    assert seen["builtins"] == [True, True]
    assert plugin.zygote.ready["werkzeug"] == "2.3.8"


def test_nothing_of_ours_is_found(make: Make) -> None:
    """Neither our packages nor our msgpack can be imported where the environment has none, and none is loaded."""
    plugin = make(build_environment("werkzeug>=3"))
    plugin.endpoint(
        """
        found = []
        for name in ("worker", "worker.channel", "protocol", "executor", "msgpack", "yaml", "pydantic"):
            try:
                __import__(name)
            except ModuleNotFoundError:
                continue
            found.append(name)
        loaded = [name for name in sys.modules if name.partition(".")[0] in ("worker", "protocol", "msgpack")]
        return Response(json.dumps([found, loaded, len(sys.meta_path)]))
        """
    )

    assert json.loads(plugin.call().body) == [[], [], 3]


def test_a_plugin_may_use_all_of_our_names(environment: Path, make: Make) -> None:
    """Its own `worker`, `protocol`, `executor` and `msgpack` win, as everywhere else."""
    plugin = make(environment)
    for name in ("worker", "protocol", "executor", "msgpack"):
        plugin.write(f"{name}.py", f"name = 'my {name}'\n")
    plugin.endpoint(
        "return Response(' '.join(m.name for m in (worker, protocol, executor, msgpack)))",
        top="import worker, protocol, executor, msgpack",
    )

    assert plugin.call().body == b"my worker my protocol my executor my msgpack"


def test_files_of_the_environment_run_without_rights(environment: Path, make: Make, tmp_path: Path) -> None:
    """What Python runs as it starts is run in the plugin's zygote, which sees the view only and has no network."""
    (tmp_path / "secret").write_text("of the host")
    code = f"""
import os, socket
pid = os.getpid()
processes = sorted(name for name in os.listdir("/proc") if name.isdigit())
sees = os.path.exists("{tmp_path}/secret")
interfaces = [name for _, name in socket.if_nameindex()]
try:
    socket.create_connection(("127.0.0.1", 9))
except OSError as error:
    network = error.strerror
"""
    plugin = make(plant(environment, tmp_path / "planted", code))
    plugin.endpoint(
        "import planted as p; return Response(json.dumps([p.pid, p.processes, p.sees, p.interfaces, p.network]))"
    )

    assert json.loads(plugin.call().body) == [1, ["1"], False, ["lo"], "Network is unreachable"]


@pytest.mark.parametrize("block", [AS_ROOT, False], ids=["ids", "rootless"])
def test_what_is_shown_cannot_be_made_writable(environment: Path, make: Make, tmp_path: Path, block: bool) -> None:  # noqa: FBT001
    """What an environment imports has rights in its namespaces, but changes no mount that came with its view."""
    code = """
import ctypes, os

libc = ctypes.CDLL(None)
remount, bind = 0x20, 0x1000
found = [line.split()[4] for line in open("/proc/self/mountinfo")]
writable = [place for place in found if os.statvfs(place).f_flag & os.ST_RDONLY and (
    libc.mount(None, place.encode(), None, remount | bind, None) == 0
    or libc.mount(None, place.encode(), None, remount | bind | os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC, None) == 0)]
shadowed = [place for place in found if place != "/" and libc.umount2(place.encode(), 2) == 0]
"""
    plugin = make(plant(environment, tmp_path / "planted", code), block=block)
    plugin.endpoint("import planted as p; return Response(json.dumps([len(p.found) > 9, p.writable, p.shadowed]))")

    assert json.loads(plugin.call().body) == [True, [], []]


def test_without_werkzeug_it_is_refused(make: Make) -> None:
    """The zygote says what is missing, and ends."""
    del make
    environment = build_environment()
    base = BaseZygote(interpreter=interpreter_of(environment))
    base.wait_ready()
    zygote = base.fork_zygote(environment=environment)

    message = zygote.report(ForkFailed).message
    assert message.startswith(f"the environment {environment} has no werkzeug, and so no Dify SDK: name dify_plugin")
    zygote.close()
    base.close()


def test_an_sdk_that_cannot_be_imported_is_told(environment: Path) -> None:
    """With the environment and what was raised."""
    base = BaseZygote(interpreter=interpreter_of(environment))
    base.wait_ready()
    zygote = base.fork_zygote(["no_such_sdk"], environment=environment)

    assert zygote.report(ForkFailed).message == (
        f"no_such_sdk cannot be imported from the environment {environment}: "
        "ModuleNotFoundError: No module named 'no_such_sdk'"
    )
    zygote.close()
    base.close()


def test_an_environment_needs_its_interpreter(environment: Path, own_base: BaseZygote) -> None:
    """The base zygote in our own environment has no plugins of others, nor the other way round."""
    zygote = own_base.fork_zygote(environment=environment)
    assert "this interpreter is not for the environment" in zygote.report(ForkFailed).message
    zygote.close()

    base = BaseZygote(interpreter=interpreter_of(environment))
    base.wait_ready()
    zygote = base.fork_zygote()
    assert "this interpreter is not for the environment of ours" in zygote.report(ForkFailed).message
    zygote.close()
    base.close()


@pytest.mark.parametrize("version", sorted(find_pythons()))
@pytest.mark.parametrize("werkzeug", ["werkzeug==2.3.8", "werkzeug==3.0.6", "werkzeug>=3.1"])
def test_every_version_serves(version: str, werkzeug: str, make: Make) -> None:
    """Requests, streams, forms, headers and errors, with each version of Python that is here, and of werkzeug."""
    plugin = make(build_environment(werkzeug, python=find_pythons()[version]))
    plugin.endpoint(
        """
        if r.method == "GET":
            def stream():
                yield f"{sys.version_info[0]}.{sys.version_info[1]} {r.args.getlist('q')} "
                yield r.headers["X-Some"] + ' ' + str(values)
            return Response(stream(), headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        if r.path == "/form":
            return Response(json.dumps([r.form.to_dict(), r.content_length]))
        raise ValueError("not here")
        """
    )
    answer = plugin.call(query=b"q=1&q=2", headers={"Host": "x", "X-Some": "thing"}, values=(("n", "int", "7"),))
    assert answer.body.decode() == f"{version} ['1', '2'] thing {{'n': 7}}"
    assert answer.headers("set-cookie") == ["a=1", "b=2"]

    form = {"Host": "x", "Content-Type": "application/x-www-form-urlencoded"}
    answer = plugin.call(data=b"a=1&b=%C3%A9", content_length=11, method="POST", path="/form", headers=form)
    assert json.loads(answer.body) == [{"a": "1", "b": "é"}, 11]

    answer = plugin.call(method="POST", path="/none")
    assert answer.error is not None
    assert (answer.error.code, answer.error.message) == ("not_found", "not here")

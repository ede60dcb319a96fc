"""What surrounds endpoint code in a real worker: descriptors, environment, session, output, forks."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.worker.driver import ENVIRONMENT

if TYPE_CHECKING:
    from tests.worker.driver import Plugin


def seen(plugin: Plugin, expression: str) -> Any:
    """What an expression is in an endpoint."""
    plugin.endpoint(f"import subprocess\nreturn Response(json.dumps({expression}))")
    answer = plugin.call()
    assert answer.error is None, answer.error
    return json.loads(answer.body)


def test_descriptors(plugin: Plugin) -> None:
    """A worker has 0, 1, 2 and the two of the protocol, which have high numbers; programs that it starts have three."""
    mine, program = seen(
        plugin,
        "[[int(n) for n in os.listdir('/proc/self/fd')],"
        " subprocess.run(['ls', '/proc/self/fd'], stdout=-1, text=True, close_fds=False).stdout.split()]",
    )
    low, high = [n for n in mine if n < 10], [n for n in mine if n >= 10]

    assert sorted(low)[:3] == [0, 1, 2]
    assert len(low) == 4, "one is that of the listing"
    assert len(high) == 2
    assert min(high) > 500
    assert program == ["0", "1", "2", "3"]


def test_environment(plugin: Plugin) -> None:
    """The environment is that of zygotes and the scratch folder, for the process and for programs that it starts."""
    expected = ENVIRONMENT | {"HOME": "/tmp", "TMPDIR": "/tmp"}

    mine, program = seen(plugin, "[dict(os.environ), subprocess.check_output(['/usr/bin/env'], text=True)]")

    assert expected == mine
    assert {f"{name}={value}" for name, value in expected.items()} == set(program.split())


def test_surroundings(plugin: Plugin) -> None:
    """Folder, umask, import path, arguments, session, temporary folder and signals are as documented."""
    root = str(plugin.root)
    expression = f"""[
        os.path.samefile(os.getcwd(), {root!r}), oct(os.umask(0)), sys.path[0], sys.argv,
        os.getsid(0) == os.getpid() == os.getpgrp(),
        __import__('tempfile').gettempdir(), os.read(0, 1).decode(), sys.stdin.read(),
        [n for n in range(1, 32) if __import__('signal').getsignal(n) == __import__('signal').SIG_IGN],
        __import__('signal').pthread_sigmask(0, ()) == set(),
    ]"""

    assert [
        True,
        "0o77",
        root,
        [f"{root}/main.py"],
        True,
        "/tmp",
        "",
        "",
        [13, 25],
        True,
    ] == seen(plugin, " ".join(expression.split()))


def test_plugin_folder_stays_clean(plugin: Plugin) -> None:
    """Nothing is written into the plugin's folder, compiled modules neither."""
    plugin.write("helper.py", "x = 1\n")
    plugin.endpoint("import helper; return Response('x')")
    plugin.call()

    assert sorted(str(path.relative_to(plugin.root)) for path in plugin.root.rglob("*") if path.is_file()) == [
        "endpoints/main.py",
        "helper.py",
    ]


@pytest.mark.parametrize(
    ("code", "stdout", "stderr"),
    [
        ("print('é\\udc80')", "é\\udc80\n".encode(), b""),
        ("print('x', end='')", b"x", b""),
        ("os.write(1, b'EEP\\x01\\0\\0\\0\\x01D\\x90')", b"EEP\x01\0\0\0\x01D\x90", b""),
        ("os.write(2, b'two')", b"", b"two"),
        ("sys.stdout.buffer.write(b'raw')", b"raw", b""),
        ("import ctypes; ctypes.CDLL(None).puts(b'from C')", b"from C\n", b""),
        ("import subprocess; subprocess.run(['echo', 'program'])", b"program\n", b""),
        ("os.close(1); os.close(2); os.close(0)", b"", b""),
        ("os.closerange(0, 512)", b"", b""),
        ("sys.stdout.close()", b"", b""),
        ("sys.stdout = sys.stderr = None", b"", b""),
        ("os.close(1); assert os.open('/dev/null', os.O_WRONLY) == 1; print('lost')", b"", b""),
        ("import warnings; warnings.warn('careful')", b"", b"UserWarning: careful"),
    ],
)
def test_output_does_not_disturb_the_protocol(plugin: Plugin, code: str, stdout: bytes, stderr: bytes) -> None:
    """Whatever is done to the descriptors 0, 1 and 2, the answer arrives, and the output is found in the pipes."""
    plugin.endpoint(f"{code}\nreturn Response('fine')")

    answer = plugin.call()

    assert (answer.body, answer.error) == (b"fine", None)
    assert stdout == answer.stdout
    assert stderr in answer.stderr
    assert answer.exited is not None
    assert answer.exited.status == 0


@pytest.mark.parametrize(
    "child",
    [
        "return Response('child')",
        "raise RuntimeError('child')",
        "sys.exit(0)",
        "r.get_data(); return Response('child')",
        "logging.warning('child')\n    os._exit(0)",
        "os._exit(0)",
        "return Response(iter(['a', 'b']))",
    ],
)
def test_forked_child_never_speaks(plugin: Plugin, child: str) -> None:
    """A child forked by the endpoint cannot answer, whatever it does; its parent answers alone."""
    plugin.endpoint(
        f"""
pid = os.fork()
if pid == 0:
    {child}
_, status = os.waitpid(pid, 0)
return Response(f"parent {{os.waitstatus_to_exitcode(status)}} {{r.get_data().decode()}}")
"""
    )
    answer = plugin.call(data=b"body", method="POST")

    code = 0 if "os._exit(0)" in child else 70
    assert f"parent {code} body".encode() == answer.body
    assert answer.ended
    assert answer.logs == []
    expected = b"warning root: child\n" if "logging" in child else b"forked" if code else b""
    assert expected in answer.stderr


def test_fork_in_generator(plugin: Plugin) -> None:
    """A child that goes on with the generator after a fork sends nothing."""
    plugin.endpoint(
        """
        def generate():
            yield "one "
            pid = os.fork()
            yield "two " if pid else "child "
            if pid:
                os.waitpid(pid, 0)
            yield "three"
        return Response(generate())
        """
    )
    assert plugin.call().body == b"one two three"


def test_multiprocessing(plugin: Plugin) -> None:
    """The standard library's pools work in a worker."""
    plugin.endpoint(
        """
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return Response(str(sum(pool.map(abs, range(-10, 0)))))
        """
    )
    assert plugin.call().body == b"55"


def test_silent_death(plugin: Plugin) -> None:
    """An endpoint that ends the process ends the stream; nothing is made up."""
    plugin.endpoint("os._exit(9)")

    answer = plugin.call()

    assert (answer.head, answer.error, answer.ended) == (None, None, False)
    assert answer.exited is not None
    assert os.waitstatus_to_exitcode(answer.exited.status) == 9


def test_logging(plugin: Plugin) -> None:
    """Records become LOG messages, with level, logger and traceback."""
    plugin.endpoint(
        """
        log = logging.getLogger("my.plugin")
        log.debug("not seen")
        log.info("one %s", "two")
        log.log(35, "odd level")
        try:
            1 / 0
        except ZeroDivisionError:
            log.exception("failed")
        log.critical("x" * 100_000)
        log.warning("not %d", "formatted")
        return Response("")
        """
    )
    answer = plugin.call()

    logs = answer.logs
    assert [(log.level, log.logger, log.message) for log in logs[:2]] == [
        ("info", "my.plugin", "one two"),
        ("warning", "my.plugin", "odd level"),
    ]
    assert logs[2].message.startswith("failed\nTraceback")
    assert logs[2].message.endswith("ZeroDivisionError: division by zero")
    assert (logs[3].level, len(logs[3].message) <= 16384) == ("critical", True)
    assert b"TypeError" in answer.stderr, "the logging module reports what cannot be formatted"


def test_sdk_handler_prints_json_once(plugin: Plugin) -> None:
    """Records that the SDK's handler prints are not sent as LOG messages, too."""
    plugin.endpoint(
        """
        from dify_plugin.config.logger_format import plugin_logger_handler
        log = logging.getLogger("sdk")
        log.setLevel(logging.DEBUG)
        log.addHandler(plugin_logger_handler)
        log.info("one\\ntwo")
        log.debug("below the handler's level")
        return Response("")
        """
    )
    answer = plugin.call()

    line = json.loads(answer.stdout)
    assert (line["event"], line["data"]["level"], line["data"]["message"]) == ("log", "INFO", "one\ntwo")
    assert isinstance(line["data"]["timestamp"], float)
    assert [log.message for log in answer.logs] == ["below the handler's level"]


def test_log_after_error_goes_to_stderr(plugin: Plugin) -> None:
    """What is logged when no LOG is allowed any more is not lost."""
    plugin.endpoint(
        """
        def later():
            while threading.main_thread().is_alive() and not done.wait(0):
                pass
            logging.error("late")
        done = threading.Event()
        done.set()
        response = Response(1 / 0 for _ in "x")
        response.call_on_close(later)
        return response
        """
    )
    answer = plugin.call()

    assert answer.error is not None
    assert "late" in [log.message for log in answer.logs] or b"late" in answer.stderr

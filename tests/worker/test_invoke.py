"""One invocation in a real worker: what is loaded, called, streamed, reported, and in which order."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from protocol import Body, Chunk, End, Error, Ready, Response
from tests.worker.driver import make_invoke

if TYPE_CHECKING:
    from tests.worker.driver import Plugin


def test_hello(plugin: Plugin) -> None:
    """An endpoint answers with status, headers and body, and its worker ends with 0."""
    plugin.endpoint("return Response('hello', status=201, headers=[('X-A', '1'), ('X-A', '2')])")

    answer = plugin.call()

    assert (answer.status, answer.body, answer.ended, answer.error) == (201, b"hello", True, None)
    assert answer.headers("X-A") == ["1", "2"]
    assert answer.headers("Content-Length") == ["5"]
    assert answer.exited is not None
    assert answer.exited.status == 0
    assert answer.exited.max_rss_bytes > 1 << 20
    assert answer.exited.minor_faults > 0
    assert answer.exited.killed_descendants == 0


def test_sources_are_imported_before_ready(plugin: Plugin) -> None:
    """READY comes when the sources have been imported; the request then finds them imported."""
    source = plugin.endpoint("return Response('x')", top="print('imported', flush=True)")
    worker = plugin.fork([source])

    assert worker.wait_ready() == Ready()
    assert os.read(worker.stdout_fd, 100) == b"imported\n"
    worker.send(make_invoke(source))
    answer = worker.collect()
    assert answer.body == b"x"
    assert worker.output()[0] == b"", "the source was imported twice"


def test_request_reaches_endpoint(plugin: Plugin) -> None:
    """Request, converted path values and settings arrive as they were sent."""
    plugin.endpoint(
        """
        r.own_attribute = settings["nested"]["list"].append(3)
        return Response(json.dumps({
            "method": r.method, "path": r.path, "query": r.query_string.decode("latin-1"), "args": r.args.getlist("a"),
            "cookies": r.cookies, "cookie_list": r.headers.getlist("Cookie"), "url": r.url,
            "values": {name: [type(value).__name__, str(value)] for name, value in values.items()},
            "settings": settings, "ids": [self.session.session_id, self.session.endpoint_id],
        }))
        """
    )
    answer = plugin.call(
        method="POST",
        path="/é/x",
        query=b"a=1&a=%32&b;c",
        scheme="https",
        headers=[("Host", "h:99"), ("Cookie", "a=1"), ("Cookie", "b=2")],
        values=(
            ("s", "str", "x"),
            ("i", "int", str(2**70)),
            ("f", "float", 1.5),
            ("u", "uuid", "12345678-1234-5678-1234-567812345678"),
        ),
        settings={"nested": {"list": [1, 2]}},
    )

    seen: dict[str, Any] = json.loads(answer.body)
    assert tuple(seen[k] for k in ("method", "path", "query", "args")) == ("POST", "/é/x", "a=1&a=%32&b;c", ["1", "2"])
    assert seen["cookies"] == {"a": "1", "b": "2"}
    assert seen["cookie_list"] == ["a=1", "b=2"]
    assert seen["url"].startswith("https://h:99/")
    assert {
        "s": ["str", "x"],
        "i": ["int", str(2**70)],
        "f": ["float", "1.5"],
        "u": ["UUID", "12345678-1234-5678-1234-567812345678"],
    } == seen["values"]
    assert seen["settings"] == {"nested": {"list": [1, 2, 3]}}
    assert seen["ids"] == ["0192f0c1-0000-7000-8000-000000000001", "hook"]


def test_first_chunk_comes_before_second_is_made(plugin: Plugin) -> None:
    """The generator is stuck in reading the request's body when its first chunk is here already."""
    plugin.endpoint(
        """
        def generate():
            yield "one"
            yield b"got " + r.stream.read(4)
        return Response(generate())
        """
    )
    worker = plugin.start(body=True, method="POST")

    head, first = worker.receive(), worker.receive()
    worker.send(Body(data=b"ping"))  # no BODY_END: the worker does not wait for it, and may have ended

    assert isinstance(head, Response)
    assert Chunk(data=b"one") == first
    assert Chunk(data=b"got ping") == worker.receive()
    assert End() == worker.receive()


def test_worker_stops_without_credit(plugin: Plugin) -> None:
    """No more than the credit is sent, and a small credit brings exactly as many bytes."""
    plugin.endpoint("return Response(bytes([n]) * 65536 for n in range(6))")
    worker = plugin.start()
    assert isinstance(worker.receive(), Response)
    for n in range(4):
        assert Chunk(data=bytes([n]) * 65536) == worker.receive()

    worker.grant(10)
    assert Chunk(data=b"\4" * 10) == worker.receive()
    worker.grant(7)
    assert Chunk(data=b"\4" * 7) == worker.receive()
    worker.grant(1 << 20)

    answer = worker.collect()
    assert answer.body == b"\4" * (65536 - 17) + b"\5" * 65536
    assert answer.ended


def test_upload_with_credit(plugin: Plugin) -> None:
    """A body larger than the credit arrives whole, whatever the reads."""
    plugin.endpoint("data = r.get_data(); return Response(f'{len(data)} {data[:3]} {data[-3:]}')")
    answer = plugin.call(method="PUT", data=b"abc" + b"." * 3_000_000 + b"xyz", content_length=3_000_006)

    assert answer.body == b"3000006 b'abc' b'xyz'"


@pytest.mark.slow
def test_large_multipart_spools(plugin: Plugin) -> None:
    """100 MiB of multipart go to the scratch folder, not into the process."""
    plugin.endpoint(
        """
        import hashlib
        file = r.files["f"]
        name = os.readlink(f"/proc/self/fd/{file.stream.fileno()}")
        return Response(f"{hashlib.file_digest(file.stream, 'sha256').hexdigest()} {r.form['t']} {name}")
        """
    )
    block = bytes(range(256)) * 256
    data = b"".join(
        [
            b'--B\r\nContent-Disposition: form-data; name="t"\r\n\r\ntext\r\n',
            b'--B\r\nContent-Disposition: form-data; name="f"; filename="x.bin"\r\n\r\n',
            *[block] * 1600,
            b"\r\n--B--\r\n",
        ]
    )
    headers = {"Host": "h", "Content-Type": "multipart/form-data; boundary=B"}

    answer = plugin.call(method="POST", data=data, headers=headers, limits={})

    digest, text, name = answer.body.decode().split(" ", 2)
    assert (hashlib.sha256(block * 1600).hexdigest(), "text") == (digest, text)
    assert name.startswith("/private/tmp/")
    assert answer.exited is not None
    assert answer.exited.max_rss_bytes < 60 << 20


def test_empty_body(plugin: Plugin) -> None:
    """A POST without a body has an empty one."""
    plugin.endpoint("return Response(repr((r.get_data(), r.get_json(silent=True), r.content_length)))")

    assert plugin.call(method="POST", content_length=0).body == b"(b'', None, 0)"
    assert plugin.call(method="POST", data=b"").body == b"(b'', None, None)"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("from werkzeug.exceptions import abort; abort(403)", "werkzeug.exceptions.Forbidden: 403 Forbidden"),
        ("r.get_json()", "werkzeug.exceptions.UnsupportedMediaType: 415"),
        ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()", "Odd: <exception str() failed>"),
        ("self.session.storage.get('x')", "nobody takes reverse calls here"),
    ],
)
def test_invoke_raises(plugin: Plugin, code: str, message: str) -> None:
    """Whatever `_invoke` raises but ValueError is `raised`, with the endpoint's frames and none of ours."""
    plugin.endpoint(code)

    answer = plugin.call()

    assert answer.head is None
    assert answer.error is not None
    assert answer.error.code == "raised"
    assert message in answer.error.message
    assert "endpoints/main.py" in answer.error.traceback
    assert "worker/invoke.py" not in answer.error.traceback
    assert answer.exited is not None
    assert answer.exited.status == 0


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ValueError('no such thing: é')", "no such thing: é"),
        ("json.loads('')", "Expecting value"),
        ("int('x')", ""),
    ],
)
def test_value_error_is_not_found(plugin: Plugin, code: str, message: str) -> None:
    """ValueError and its subclasses are `not_found`, with the text for the client."""
    plugin.endpoint(code)

    error = plugin.call().error

    assert error is not None
    assert error.code == "not_found"
    assert error.message.startswith(message)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "return {'a': 1}",
            "endpoints/main.py: Main._invoke returned an object of type dict; expected a werkzeug.Resp",
        ),
        ("pass", "returned None"),
        ("return 'text', 200", "tuple"),
        ("yield 'x'", "generator"),
        ("return Response('x', status=999)", "999"),
        ("return Response('x', status=101)", "101"),
        ("return Response('x', headers=[('a b', 'c')])", "token"),
        ("return Response('x', headers=[('a', 'b' + chr(0))])", "the value of b'a'"),
        ("return Response('x', headers=[('a', 'b')] * 5000)", "5002 fields"),
    ],
)
def test_wrong_type(plugin: Plugin, code: str, message: str) -> None:
    """What is not a response that HTTP allows is `wrong_type`, and the text says what it was."""
    plugin.endpoint(code)

    answer = plugin.call()

    assert answer.head is None
    assert answer.error is not None
    assert answer.error.code == "wrong_type"
    assert message in answer.error.message


def test_async_invoke(plugin: Plugin) -> None:
    """A coroutine is refused by name, without a warning about it."""
    plugin.write(
        "endpoints/main.py",
        "from dify_plugin import Endpoint\nclass E(Endpoint):\n    async def _invoke(self, *a): ...\n",
    )

    answer = plugin.call()

    assert answer.error is not None
    assert "async def _invoke" in answer.error.message
    assert answer.stderr == b""


@pytest.mark.parametrize("item", ["1", "{}", "None", "[]"])
def test_body_raises_before_head(plugin: Plugin, item: str) -> None:
    """An exception before the first chunk, or a chunk of a wrong type, leaves the status to the supervisor."""
    plugin.endpoint(f"return Response(iter([{item}]))")

    answer = plugin.call()

    assert answer.head is None
    assert answer.error is not None
    assert answer.error.code == "body"
    assert "may consist of str and bytes" in answer.error.message


def test_body_raises_after_head(plugin: Plugin) -> None:
    """An exception after the first chunk comes after what was sent, and hooks have run by then."""
    plugin.endpoint(
        """
        def generate():
            try:
                yield "one"
                raise ValueError("late")
            finally:
                print("finally")
        response = Response(generate())
        response.call_on_close(lambda: print("closed"))
        return response
        """
    )
    answer = plugin.call()

    assert (answer.status, answer.body, answer.ended) == (200, b"one", False)
    assert answer.error is not None
    assert (answer.error.code, answer.error.message) == ("body", "ValueError: late")
    assert answer.stdout == b"finally\nclosed\n"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_head_has_no_body(plugin: Plugin, method: str) -> None:
    """HEAD is answered with the head alone, its length included."""
    plugin.endpoint("return Response('hello')")

    answer = plugin.call(method=method)

    assert (["5"], b"hello" if method == "GET" else b"") == (answer.headers("Content-Length"), answer.body)
    assert answer.ended


def test_hooks_run_after_end(plugin: Plugin) -> None:
    """Hooks run when the answer has ended; they may log, and their exceptions are logged."""
    plugin.endpoint(
        """
        response = Response("x")
        response.call_on_close(lambda: logging.getLogger("hook").warning("late"))
        response.call_on_close(lambda: 1 / 0)
        return response
        """
    )
    worker = plugin.start()
    assert isinstance(worker.receive(), Response)
    assert Chunk(data=b"x") == worker.receive()
    assert End() == worker.receive()
    assert worker.logs == []

    answer = worker.collect()

    assert [(log.logger, log.message.partition("\n")[0]) for log in answer.logs] == [
        ("hook", "late"),
        ("worker", "closing the response raised"),
    ]
    assert "ZeroDivisionError" in answer.logs[1].message


def test_generator_is_closed_on_cancel(plugin: Plugin) -> None:
    """CANCEL closes a generator that waits for credit: its `finally` and the hooks run, and the worker ends."""
    plugin.endpoint(
        """
        def generate():
            try:
                while True:
                    yield b"." * 65536
            except BaseException as error:
                print(type(error).__name__)
                raise
            finally:
                print("finally")
        response = Response(generate())
        response.call_on_close(lambda: print("closed"))
        return response
        """
    )
    worker = plugin.start()
    for _ in range(5):
        worker.receive()

    worker.cancel()
    answer = worker.collect()

    assert answer.error is not None
    assert (answer.error.code, answer.error.message) == ("cancelled", "test")
    assert worker.output()[0] == b"GeneratorExit\nfinally\nclosed\n"
    assert worker.exited().status == 0


@pytest.mark.parametrize("how", ["cancel", "eof"])
def test_body_read_is_cancelled(plugin: Plugin, how: str) -> None:
    """A worker that waits for the body gets `Cancelled`, which no `except Exception` catches."""
    plugin.endpoint(
        """
        try:
            print("reading")
            r.get_data()
        except Exception:
            print("caught")
        finally:
            print("finally")
        """
    )
    worker = plugin.start(body=True)
    assert os.read(worker.stdout_fd, 100) == b"reading\n"

    worker.cancel() if how == "cancel" else worker.close_requests()
    answer = worker.collect()

    assert answer.error is not None
    assert answer.error.code == "cancelled"
    assert worker.output()[0] == b"finally\n"


def test_cancelled_before_invoke(plugin: Plugin) -> None:
    """A worker that was never used ends when it is told to, or when nobody is there any more."""
    first, second = plugin.fork(), plugin.fork()
    for worker in (first, second):
        assert isinstance(worker.wait_ready(), Ready)

    first.cancel()
    second.close_requests()

    for worker in (first, second):
        assert worker.collect().error is None
        assert worker.exited().status == 0


def test_cancel_reaches_worker_that_cannot_write(plugin: Plugin) -> None:
    """CANCEL is seen by a worker that waits for room in its pipe."""
    plugin.endpoint(
        """
        def generate():
            try:
                while True:
                    yield b"." * 200
            finally:
                print("finally")
        return Response(generate())
        """
    )
    worker = plugin.start()
    worker.receive()  # and then nothing more: 64 KiB of small frames fill the pipe before the credit is used up

    worker.cancel()

    assert worker.output()[0] == b"finally\n"
    assert worker.exited().status == 0


def test_threads_share_the_channel(plugin: Plugin) -> None:
    """Threads that read the body and log do not disturb the one that answers."""
    plugin.endpoint(
        """
        received = []
        def read():
            while data := r.stream.read(70_000):
                received.append(len(data))
                logging.info("read %d", sum(received))
        def chat():
            for n in range(200):
                logging.info("chat %d", n)
        threads = [threading.Thread(target=read), *(threading.Thread(target=chat) for _ in range(3))]
        def generate():
            for thread in threads:
                thread.start()
            for n in range(50):
                yield bytes([n]) * 30_000
            for thread in threads:
                thread.join()
            yield str(sum(received))
        return Response(generate())
        """
    )
    worker = plugin.start(body=True, method="POST")
    answer, sent = worker.exchange(b"x" * 1_000_000)

    assert b"".join(bytes([n]) * 30_000 for n in range(50)) + b"1000000" == answer.body
    assert sent == 1_000_000
    assert sum(log.message.startswith("chat") for log in answer.logs) == 600
    assert answer.ended


def test_process_is_new_for_every_request(plugin: Plugin) -> None:
    """Each request has a process of its own, with modules in their first state, which it sees as process 2."""
    plugin.write("counter.py", "value = 0\n")
    plugin.endpoint("import counter; counter.value += 1; return Response(f'{os.getpid()} {counter.value}')")

    workers = [plugin.start() for _ in range(3)]

    assert {b"2 1"} == {worker.collect().body for worker in workers}
    assert len({worker.pid for worker in workers}) == 3


def test_debug_option_raises_log_level(plugin: Plugin) -> None:
    """With `debug` in PREPARE_WORKER debug records are sent as well, by this worker and not by the next one."""
    plugin.endpoint("logging.getLogger('x').debug('details'); return Response('')")
    worker = plugin.fork(debug=True)
    assert isinstance(worker.wait_ready(), Ready)
    worker.send(make_invoke())

    assert [(log.level, log.logger, log.message) for log in worker.collect().logs] == [("debug", "x", "details")]
    plugin.finish(worker)
    assert plugin.call().logs == []


def test_load_error_before_ready(plugin: Plugin) -> None:
    """A source named in PREPARE_WORKER that cannot be loaded is reported instead of READY."""
    error = plugin.fork(["endpoints/none.py"]).wait_ready()

    assert isinstance(error, Error)
    assert (error.code, error.message) == ("load", "endpoints/none.py: there is no such file in the plugin")


@pytest.mark.parametrize(
    ("code", "message", "place"),
    [
        ("x = (", "SyntaxError: '(' was never closed", 'endpoints/main.py", line 1'),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'", "line 1, in <module>"),
        ("import sys; sys.exit('bye')", "SystemExit: bye", "line 1, in <module>"),
    ],
)
def test_load_error(plugin: Plugin, code: str, message: str, place: str) -> None:
    """An exception while importing is `load`, with the place in the source."""
    plugin.write("endpoints/main.py", code)

    error = plugin.call().error

    assert error is not None
    assert ("load", f"endpoints/main.py: {message}") == (error.code, error.message)
    assert place in error.traceback
    assert "importlib" not in error.traceback
    assert "worker/" not in error.traceback

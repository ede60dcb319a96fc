"""After the answer: threads of a real worker get their time, and no more."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from protocol import Body, Chunk, End, Ready, Response
from protocol.messages import EXIT_OUT_OF_TIME
from tests.worker.driver import make_invoke
from tests.worker.forked import in_child
from worker.afterwards import let_finish

if TYPE_CHECKING:
    from tests.worker.driver import Plugin

THREAD = """
def later():
    time.sleep({seconds})
    os.write(1, b"later")
threading.Thread(target=later, daemon={daemon}).start()
return Response("now")
"""


@pytest.mark.parametrize("daemon", [True, False])
def test_threads_go_on(plugin: Plugin, daemon: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """Daemon threads as well; the worker ends with the last of them, not with the time."""
    plugin.endpoint(THREAD.format(seconds=0.3, daemon=daemon))
    answer = plugin.call(after_response_s=3600.0)
    assert (answer.body, answer.ended, answer.stdout) == (b"now", True, b"later")
    assert answer.exited is not None
    assert answer.exited.status == 0


def test_without_time_nothing_goes_on(plugin: Plugin) -> None:
    """A worker ends with its answer."""
    plugin.endpoint(THREAD.format(seconds=60, daemon=False))
    answer = plugin.call()
    assert (answer.body, answer.stdout) == (b"now", b"")


def test_time_is_bounded(plugin: Plugin) -> None:
    """When it is over the worker ends, whatever still runs."""
    plugin.endpoint(THREAD.format(seconds=3600, daemon=False))
    answer = plugin.call(after_response_s=0.2)
    assert (answer.ended, answer.stdout) == (True, b"")
    assert answer.exited is not None
    assert os.waitstatus_to_exitcode(answer.exited.status) == EXIT_OUT_OF_TIME


def test_hooks_come_before_threads(plugin: Plugin) -> None:
    """`call_on_close` runs right after the answer."""
    plugin.endpoint(
        """
        closed = threading.Event()
        threading.Thread(target=lambda: closed.wait() and os.write(1, b"closed"), daemon=True).start()
        response = Response("now")
        response.call_on_close(closed.set)
        return response
        """
    )
    assert plugin.call(after_response_s=3600.0).stdout == b"closed"


def test_after_a_failure_nothing_goes_on(plugin: Plugin) -> None:
    """An endpoint that raised has had its time."""
    plugin.endpoint("threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\nraise KeyError('x')")
    answer = plugin.call(after_response_s=3600.0)
    assert answer.error is not None


def test_threads_that_were_not_started_by_threading() -> None:
    """They are waited for once they are known; threads that start others, too."""

    def run() -> list[bool]:
        ended = threading.Event()

        def first() -> None:
            threading.Thread(target=ended.set).start()

        threading.Thread(target=first).start()
        return [let_finish(60), ended.is_set(), let_finish(0)]

    assert in_child(run) == [True, True, False]  # in a process without the threads of those who run the tests


def test_a_kept_worker_answers_again(plugin: Plugin) -> None:
    """Memory stays; of the old request neither body nor credit comes into the new one."""
    source = plugin.endpoint(
        "SEEN.append(r.headers['X-Read'] == 'yes' and len(r.get_data()))\nreturn Response(json.dumps(SEEN))",
        top="SEEN = []",
    )
    worker = plugin.start(body=True, method="POST", keep=True, headers={"Host": "h", "X-Read": "no"})
    worker.send(Body(b"old"))
    kinds = [type(worker.receive()) for _ in range(4)]
    assert kinds == [Response, Chunk, End, Ready]
    worker.send(Body(b"still old"))
    invoke = make_invoke(source, method="POST", has_body=True, headers={"Host": "h", "X-Read": "yes"})
    worker.send(invoke)
    worker.body(b"x" * 600_000)
    answer = worker.collect()
    assert answer.body == b"[false, 600000]"
    assert plugin.finish(worker).status == 0


def test_a_worker_that_fails_is_not_kept(plugin: Plugin) -> None:
    """It ends after its ERROR."""
    plugin.endpoint("raise KeyError('x')")
    answer = plugin.call(keep=True)
    assert answer.error is not None

"""The end of a worker, and where its output goes, with a worker that the test plays by hand."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable

import psutil
import pytest

from executor.supervisor.output import LogRecord, OutputLog
from executor.supervisor.readiness import Readiness
from executor.supervisor.worker import describe_exit
from protocol.codec import encode_message
from protocol.messages import Log
from protocol.states import Role
from tests.executor.supervisor.played_worker import PlayedWorker, play


def test_what_was_said_before_another_sink_goes_to_the_first() -> None:
    """Messages and output, although nobody has read them yet; what is only half said is known of."""
    records: list[LogRecord] = []

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        other = OutputLog(limit_bytes=1000, line_bytes=100, emit=records.append, flooded=lambda: None)
        log = encode_message(Role.WORKER, Log(time=1.0, level="info", logger="l", message="m"))
        os.write(worker.responses, log * 200 + log[:-1])
        os.write(worker.stdout, b"before")
        worker.handle.use_sink(other)
        os.write(worker.responses, log[-1:])
        os.write(worker.stdout, b"after\n")
        assert (len(worker.logs), worker.output) == (200, [("stdout", b"before")])
        assert worker.channel.mid_message
        worker.handle.read_all()
        assert [record.message for record in records] == ["m", "after"]
        assert not worker.channel.mid_message

    play(test)


def test_the_last_output_is_read_after_the_end() -> None:
    """Drain, then reap."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        os.write(worker.stderr, b"last words")
        worker.end(status=11)
        report = await worker.handle.wait_exit(5)
        assert worker.output == [("stderr", b"last words")]
        assert describe_exit(report) == "signal 11 (SIGSEGV)"

    play(test)


def test_a_worker_that_does_not_end_is_killed() -> None:
    """After the grace time, and only then."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        assert not worker.killed
        report = await worker.handle.wait_exit(0.01)
        assert worker.killed
        assert describe_exit(report) == "signal 9 (SIGKILL)"
        assert describe_exit(None) == "lost with its slot"

    play(test)


def test_an_end_that_is_never_reported_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot that does not answer is killed; what hangs in the kernel must not hold an invocation for ever."""
    monkeypatch.setattr("executor.supervisor.worker.KILL_TIME_S", 0.01)
    monkeypatch.setattr("executor.supervisor.worker.SLOT_KILL_TIME_S", 0.01)

    async def test(worker: PlayedWorker) -> None:
        monkeypatch.setattr(worker, "kill_worker", lambda _child: None)
        monkeypatch.setattr(worker, "end", worker.end_slot)
        assert await worker.handle.wait_exit(0) is None
        assert worker.slot_killed
        assert worker.slot_ended
        assert worker.child.failure == "killed, its end was not reported"
        monkeypatch.undo()

    play(test)


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_pipes_that_cannot_be_waited_for(failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is killed, nothing stays open or watched, and it is told why (`max_user_watches` of epoll(7))."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        before = psutil.Process().num_fds()
        watched: list[int] = []
        watch, forget = Readiness.watch, Readiness.forget

        def fail(self: Readiness, descriptor: int, function: Callable[[], object]) -> None:
            if len(watched) + 1 == failing:
                raise OSError(errno.ENOSPC, "no more watches")
            watched.append(descriptor)
            watch(self, descriptor, function)

        def note(self: Readiness, descriptor: int) -> None:
            if descriptor in watched:
                watched.remove(descriptor)
            forget(self, descriptor)

        monkeypatch.setattr(Readiness, "watch", fail)
        monkeypatch.setattr(Readiness, "forget", note)
        worker = PlayedWorker.__new__(PlayedWorker)
        with pytest.raises(OSError, match="no more watches"):
            worker.__init__(loop)  # type: ignore[misc]
        assert worker.killed
        assert watched == []
        worker.readiness.close()
        assert psutil.Process().num_fds() == before

    asyncio.run(run())

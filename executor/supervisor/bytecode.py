"""Has a worker compile a plugin, and keeps the answer for the plugin's zygotes (see `worker.bytecode`)."""

from __future__ import annotations

import os
from typing import Final

from executor.supervisor.ending import complete
from executor.supervisor.ready_worker import ReadyWorker
from executor.supervisor.worker import describe_exit
from protocol.control import COMPILE_SOURCE
from protocol.messages import End, Error, Invoke, Response

__all__ = ["BytecodeError", "collect_bytecode"]

MAX_ARCHIVE: Final = 64 * 1024**2
"""Bytes of byte code that are kept for one plugin, in memory."""

EXIT_GRACE_S: Final = 1.0


class BytecodeError(Exception):
    """There is no byte code; the text says why."""


async def collect_bytecode(worker: ReadyWorker) -> int:
    """Take the answer of a worker that was started for COMPILE_SOURCE.

    Args:
        worker: Is finished here.

    Returns:
        The descriptor of a file in memory with the answer, unread. The caller closes it.

    Raises:
        BytecodeError: The worker failed, or its answer is too large.
        OSError: No memory or descriptors left.
    """
    archive = os.memfd_create("bytecode", os.MFD_CLOEXEC)
    try:
        try:
            worker.handle.channel.send(_request())
            await _receive(worker, archive)
        except BaseException:
            worker.handle.kill()
            raise
        finally:
            await complete(worker.finish(EXIT_GRACE_S))  # also for a plugin that is given up meanwhile
    except BaseException:
        os.close(archive)
        raise
    return archive


async def _receive(worker: ReadyWorker, archive: int) -> None:
    channel = worker.handle.channel
    size = 0
    while True:
        message = await channel.receive()
        match message:
            case Response():
                continue
            case bytes():
                size += len(message)
                if size > MAX_ARCHIVE:
                    raise BytecodeError(f"it has more than {MAX_ARCHIVE} bytes")
                os.write(archive, message)
                channel.grant(len(message))
            case End():
                return
            case Error():
                raise BytecodeError(message.message)
            case _:
                raise BytecodeError(describe_exit(None, str(channel.violation or "")))


def _request() -> Invoke:
    return Invoke(
        invocation_id="00000000-0000-7000-8000-000000000000",
        source=COMPILE_SOURCE,
        method="GET",
        scheme="http",
        server_name="localhost",
        server_port=80,
        root_path="",
        path="/",
        query=b"",
        http_version="1.1",
        headers=(),
        remote_addr=None,
        values=(),
        settings={},
        hook_id="bytecode",
        content_length=None,
        has_body=False,
        debug=False,
    )

"""The place without a sandbox, where attacks succeed: a child process of the tests; see `bare.py`."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.environments import python_for
from tests.sandbox.attacks import AttackRecord
from tests.sandbox.services import GROUP, Service

__all__ = ["run_outside"]

TIME_S: Final = 60


def run_outside(attack: AttackRecord, service: Service, *, user: int | None = None) -> dict[str, Any]:
    """Run an attack as a plain program, on the real host, against a running service.

    Args:
        attack: Which one.
        service: What it is told of.
        user: As whom; the tests' own unless given.

    Returns:
        Its answer.

    Raises:
        AssertionError: There was none.
    """
    with tempfile.TemporaryDirectory(prefix="sandbox-outside-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        files = _lay_out(folder, service)
        reads, writes = os.pipe()
        answer = stack.enter_context(os.fdopen(reads, "rb"))
        theirs = stack.enter_context(os.fdopen(writes, "wb"))
        handed_down, sockets = _careless_descriptors(stack, service.executor.folder)
        output = stack.enter_context((folder / "output").open("wb"))
        process = subprocess.Popen(
            [
                *(
                    service.python if user is None else python_for(service.plugins.parent),
                    "-B",
                    files["script"],
                    service.plugins / "hostile",
                ),
                *(attack.area, attack.name, files["target"], str(writes)),
            ],
            pass_fds=[writes, *handed_down],
            stdin=_full_pipe(stack),
            stdout=output,
            stderr=output,
            env={**service.environment, "TMPDIR": str(files["scratch"]), "BARE_SOCKETS": json.dumps(sockets)},
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=[GROUP] if os.geteuid() == 0 else None,
        )
        theirs.close()
        try:
            assert select.select([answer], [], [], TIME_S)[0], "no answer in time"
            data = os.read(reads, 1 << 16)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert data, (folder / "output").read_text()
        result: dict[str, Any] = json.loads(data)
        return result


def _lay_out(folder: Path, service: Service) -> dict[str, Path]:
    """Put what is needed where every user may read it."""
    files = {"script": folder / "bare.py", "target": folder / "target.json", "scratch": folder / "scratch"}
    shutil.copy(Path(__file__).with_name("bare.py"), files["script"])
    files["target"].write_text(json.dumps(service.target()))
    files["scratch"].mkdir()
    for path, mode in ((folder, 0o755), (files["script"], 0o644), (files["target"], 0o644), (files["scratch"], 0o777)):
        path.chmod(mode)
    return files


def _careless_descriptors(stack: contextlib.ExitStack, folder: Path) -> tuple[list[int], list[int]]:
    """Open one of each kind; all of them, and which are sockets."""
    sockets = [stack.enter_context(one) for one in socket.socketpair()]
    epoll = stack.enter_context(select.epoll())
    opened = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in (folder, folder / "log", Path("/dev/zero"))]
    opened += os.pipe()
    for descriptor in opened:
        stack.callback(os.close, descriptor)
    numbers = [one.fileno() for one in sockets]
    return [*opened, epoll.fileno(), *numbers], numbers


def _full_pipe(stack: contextlib.ExitStack) -> int:
    """Make a pipe that has something to read, as a terminal has."""
    reads, writes = os.pipe()
    os.write(writes, b"what somebody types")
    for descriptor in (reads, writes):
        stack.callback(os.close, descriptor)
    return reads

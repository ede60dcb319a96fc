"""A real PostgreSQL server for tests: in a temporary folder, on a unix socket only, as a user of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest

__all__ = ["PostgreSQL", "postgresql_server"]

USER: Final = "executor"
PORT: Final = 5432
"""Only a part of the socket's name."""
START_TIME_S: Final = 240
ENVIRONMENT: Final = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}


class PostgreSQL:
    """A running server.

    Args:
        process: Of the server.
        folder: Where its socket and its files are.
        programs: Where its programs are.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, programs: Path) -> None:
        self._process = process
        self._folder = folder
        self._programs = programs
        self._numbers = itertools.count()

    @property
    def data(self) -> Path:
        """Where its files are."""
        return self._folder / "data"

    def url(self, database: str) -> str:
        """The address of a database."""
        return f"postgresql://{USER}@/{database}?host={self._folder}&port={PORT}"

    def make_database(self, options: str = "") -> str:
        """Make an empty database; its address."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} {options}")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the server's administrator; its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def run(self, program: str, *arguments: str, text: str = "") -> str:
        """Run one of the programs that come with the server, with a text as its input; what it prints."""
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, env=ENVIRONMENT)
        return done.stdout

    def kill_connections(self, database: str) -> None:
        """End all connections to a database."""
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")  # noqa: S608 - our own name

    def kill_backends(self, database: str) -> int:
        """Kill the processes that serve a database, so that the whole server recovers as after a crash; how many."""
        found = self.execute(f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}'")  # noqa: S608 - our own name
        for (pid,) in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(str(pid)), signal.SIGKILL)
        return len(found)

    def wait_until_it_answers(self) -> None:
        """Wait until connections are taken.

        Raises:
            RuntimeError: The server has ended instead, or does not answer.
        """
        deadline = time.monotonic() + START_TIME_S
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self._folder / "log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL does not answer: {error}\n{log}") from error
                time.sleep(0.1)
            else:
                return


@contextlib.contextmanager
def postgresql_server() -> Iterator[PostgreSQL]:
    """Run a server for as long as the context lasts; skip, or fail where nothing may be skipped, without one."""
    programs = _find_programs()
    if programs is None:
        reason = "PostgreSQL's server is not installed (Debian, Ubuntu: apt-get install postgresql)"
        if os.environ.get("SANDBOX_MUST_WORK") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    user = _server_user()
    folder = Path(tempfile.mkdtemp(prefix="ee-pg-", dir="/tmp"))  # short: the socket's path has at most 107 bytes
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        with _running(programs, folder, user) as process:
            server = PostgreSQL(process, folder, programs)
            server.wait_until_it_answers()
            yield server
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _running(programs: Path, folder: Path, user: pwd.struct_passwd | None) -> Iterator[subprocess.Popen[bytes]]:
    ids = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data = folder / "data"
    with (folder / "log").open("wb") as log:
        initdb = [programs / "initdb", "-D", data, "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(initdb, stdout=log, stderr=log, cwd=folder, env=ENVIRONMENT, check=False, **ids)  # type: ignore[call-overload] # ids of several types
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{(folder / 'log').read_text(errors='replace')}")
        serve = [programs / "postgres", "-D", data, "-k", folder, "-p", str(PORT), "-c", "listen_addresses="]
        process = subprocess.Popen(serve, stdout=log, stderr=log, cwd=folder, env=ENVIRONMENT, **ids)  # type: ignore[call-overload] # likewise
        try:
            yield process
        finally:
            process.send_signal(signal.SIGQUIT)  # at once; nobody needs the data any more
            process.wait()


def _find_programs() -> Path | None:
    """Find the newest server: on the path, or where Debian keeps several."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("postgres")
    program = found[-1] if found else None if on_path is None else Path(on_path).resolve()
    return program.parent if program is not None and (program.parent / "initdb").exists() else None


def _server_user() -> pwd.struct_passwd | None:
    """Find the user to run it as: the server refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("neither a user postgres nor a user nobody")

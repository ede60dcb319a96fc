"""The state folder, and the running executors that announce themselves in it.

Each running executor keeps one file, `run/<pid>.json`, so that `executor ps` finds it. A file whose process
has ended is removed by whoever notices. A process id alone does not tell: it may have been given to another
process since. Together with the time when that process was started, in clock ticks since the boot, and the
boot's id, it does.

Source: proc_pid_stat(5), field 22; random(4), boot_id.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from executor.version import __version__

__all__ = ["Instance", "announce", "default_state_dir", "find_instances", "make_state_dir"]

RUN: Final = "run"
_START_FIELD: Final = 19
"""Place of `starttime`, the 22nd field, among those after the command's name, which is the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One running executor.

    Attributes:
        pid: Process id of its supervisor.
        process: What makes the process unique, besides its id.
        started_at: Unix seconds.
        version: Of the program.
        public: URL that serves hooks.
        admin: URL of the admin listener.
    """

    pid: int
    process: str
    started_at: float
    version: str
    public: str
    admin: str


def default_state_dir() -> Path:
    """Tell where state is kept unless configured otherwise: `$XDG_STATE_HOME/endpoint-executor`.

    Source: XDG Base Directory Specification: `~/.local/state` when the variable is not set or not absolute.
    """
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if given.startswith("/") else Path("~/.local/state").expanduser()
    return base / "endpoint-executor"


def make_state_dir(path: Path) -> None:
    """Make the state folder, and those above it, for this user alone; leave it as it is when it exists.

    Raises:
        OSError: It cannot be made, or something else is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError("it is not a folder") from error


@contextlib.contextmanager
def announce(state_dir: Path, *, public: str, admin: str) -> Iterator[Path]:
    """Announce this process for as long as the context lasts.

    Args:
        state_dir: The state folder; made when it does not exist.
        public: URL that serves hooks.
        admin: URL of the admin listener.

    Yields:
        The file.

    Raises:
        OSError: The file cannot be written.
    """
    make_state_dir(state_dir)
    run = state_dir / RUN
    run.mkdir(mode=0o700, exist_ok=True)
    pid = os.getpid()
    instance = Instance(
        pid=pid,
        process=_identify(pid) or "",
        started_at=time.time(),
        version=__version__,
        public=public,
        admin=admin,
    )
    path = run / f"{pid}.json"
    half = run / f"{pid}.json.new"
    half.write_text(json.dumps(asdict(instance), indent=2) + "\n", encoding="utf-8")
    half.replace(path)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def find_instances(state_dir: Path) -> tuple[Instance, ...]:
    """List the running executors that use a state folder, the oldest first; remove what ended ones left."""
    found = []
    for path in sorted((state_dir / RUN).glob("*.json")):
        instance = _read(path)
        if instance is not None and _identify(instance.pid) == instance.process:
            found.append(instance)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    return tuple(sorted(found, key=lambda instance: instance.started_at))


def _read(path: Path) -> Instance | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Instance(**content) if type(content["pid"]) is int else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _identify(pid: int) -> str | None:
    """Tell a process from every other one that has had or will have its id; `None` when there is none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return f"{boot}:{fields[_START_FIELD].decode()}"

"""What a plugin's sources import from outside of its folder, imported once, by the plugin's zygote.

Theory of operation
-------------------
A worker that imports `httpx` runs 80 ms for that, an empty one 1 ms in all. So its zygote imports the same before, from
the same places, and the worker finds it there (decision 0033). Nobody may be able to tell the difference:

- What is not there is left to the workers, which say so.
- A module of which the plugin has one by the same name is forgotten again: the plugin's own folder comes first.
- What a fork does not hand on (threads), what workers do not get (descriptors, variables of the environment, handlers
  of signals, the working directory), what they set up themselves (logging), and children are looked for after each
  import. What leaves any of that behind is *unfit*: the zygote says so, and is replaced by one that does not import it.
  So is what fails: a second attempt, in a worker, would find what the first one has left.
- Random numbers that modules have seeded by chance are seeded anew in each worker (`worker.forking`).

Nothing of the plugin itself is run here, and its folder is not searched.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import P_ALL, WEXITED, WNOHANG, WNOWAIT, environ, getcwd, listdir, waitid, waitpid
from signal import getsignal, valid_signals
from typing import Final

from protocol import clip
from worker.forking import fork_alone
from worker.greenlets import end_event_loop
from worker.process import look_like_worker
from worker.tracebacks import describe_error

__all__ = ["MAX_REASON", "Preloaded", "preload"]

MAX_REASON: Final = 500
"""Bytes of what is said of an import that is unfit."""

_THREADS: Final = "/proc/self/task"
_DESCRIPTORS: Final = "/proc/self/fd"


@dataclass(frozen=True, slots=True)
class Preloaded:
    """What came of it.

    Attributes:
        imported: What is there now, as it was asked for.
        unfit: What must not be imported before a fork; empty for nothing. This process is no good then.
        reason: What it has left behind.
        modules: How many were imported by that.
    """

    imported: tuple[str, ...] = ()
    unfit: str = ""
    reason: str = ""
    modules: int = 0

    def report(self) -> dict[str, object]:
        """Say so in ZYGOTE_READY."""
        return {"imports": list(self.imported), "unfit": self.unfit, "reason": self.reason}


def preload(imports: Sequence[str], root: str) -> Preloaded:
    """Import what a plugin's sources import from elsewhere.

    Args:
        imports: `package.module`, or `package.module:name`.
        root: The plugin's folder.
    """
    if not imports:
        return Preloaded()
    look_like_worker(root)
    log, stand_in = logging.getLogger(), logging.NullHandler()
    log.setLevel(logging.INFO)
    log.addHandler(stand_in)  # with none, whoever logs something gives it one
    try:
        os.chdir(root or "/")
        return _preload(imports, root)
    except OSError:  # of the folder: workers say what is wrong with it
        return Preloaded()
    finally:
        log.removeHandler(stand_in)
        os.chdir("/")


def _preload(imports: Iterable[str], root: str) -> Preloaded:
    before = frozenset(sys.modules)
    imported: list[str] = []
    state = _State.look()
    for text in imports:
        count = len(sys.modules)
        try:
            there = _import(text)
        except BaseException as error:  # noqa: BLE001 - a module may raise anything
            return Preloaded(tuple(imported), text, clip(f"it raised {describe_error(error)}", MAX_REASON))
        if len(sys.modules) != count:
            end_event_loop()  # that of the SDK: taking a lock is enough to begin one
            now = _State.look()
            if now.threads != state.threads:
                _fork_once()
                now = _State.look()
            if reason := now.differs(state):
                return Preloaded(tuple(imported), text, reason)
        if there:
            imported.append(text)
    _forget(_own_names(root), before)
    return Preloaded(tuple(imported), modules=len(sys.modules.keys() - before))


def _import(text: str) -> bool:
    """Do what an import statement does; False where there is no such module.

    Raises:
        BaseException: As the module does.
    """
    module, _, name = text.partition(":")
    try:
        __import__(module, fromlist=(name,) if name else ())
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it misses another one
        return False
    return True


def _fork_once() -> None:
    """Have libraries end their threads that know of forks, as OpenBLAS: they start others when they need them."""
    pid = fork_alone()
    if pid == 0:
        os._exit(0)
    waitpid(pid, 0)


def _own_names(root: str) -> frozenset[str]:
    """The names of a plugin's own modules, as they are imported from its folder."""
    return frozenset(name.partition(".")[0] for name in listdir(root)) if root else frozenset()


def _forget(names: frozenset[str], before: frozenset[str]) -> None:
    """Have some modules imported again by whoever asks for them, unless they were there before."""
    for module in sys.modules.keys() - before:
        if module.partition(".")[0] in names:
            del sys.modules[module]
    importlib.invalidate_caches()


@dataclass(frozen=True, slots=True)
class _State:
    """What of a process is not handed on to workers by a fork, or not as it is."""

    threads: int
    children: bool
    descriptors: frozenset[str]
    variables: dict[str, str]
    handlers: tuple[object, ...]
    folder: str
    logging: tuple[object, ...]

    @classmethod
    def look(cls) -> _State:
        """What it is now."""
        return cls(
            threads=len(listdir(_THREADS)),
            children=_has_children(),
            descriptors=frozenset(listdir(_DESCRIPTORS)),
            variables=dict(environ),
            handlers=tuple(map(getsignal, sorted(valid_signals()))),
            folder=getcwd(),
            logging=(logging.root.level, *logging.root.handlers),
        )

    def differs(self, before: _State) -> str:
        """In what way it is not as before; empty if it is."""
        if self.threads != before.threads:
            return "it has started a thread"
        if self.children and not before.children:
            return "it has started a process"
        if self.descriptors != before.descriptors:
            return "it has opened a file or a socket"
        if self.variables != before.variables:
            return "it has changed the environment"
        if self.handlers != before.handlers:
            return "it has changed what a signal does"
        if self.folder != before.folder:
            return "it has changed the working directory"
        if self.logging != before.logging:
            return "it has changed what is logged"
        return ""


def _has_children() -> bool:
    try:
        waitid(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT)
    except ChildProcessError:
        return False
    return True

"""`executor dev`: the real service for one plugin, which follows its author's changes.

Theory of operation
-------------------
The service starts with nothing to serve, so that it is there whatever state the plugin is in. Loading it for the first
time is a reload like any other: the folder is copied (`snapshots`), the copy is read and checked, its sources are
imported in a sandboxed worker, and only then it is put in force. When anything is wrong, what was in force stays so,
and the mistakes are told with the places where their author finds them; the next change tries again.

Nobody who has just saved a file gets an answer of the code before: a request looks at the files itself, since the
system tells of changes a little later, and waits until what has changed is served or refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import uvloop

from executor.authoring.curl import curl_commands
from executor.authoring.dev_log import DevLog
from executor.authoring.printing import Printer
from executor.authoring.project import Options, Project, open_project, open_settings
from executor.authoring.request_lines import RequestLines
from executor.authoring.snapshots import SnapshotError, Snapshots, look
from executor.authoring.watching import watch_changes
from executor.config.instance import make_state_dir
from executor.config.model import Config
from executor.config.places import ConfigError, Place, Problem
from executor.errors import StartupError
from executor.figures.figures import Figures
from executor.hooks import Bound, BoundHook
from executor.http.asgi import Application
from executor.observer import Refusal
from executor.service import Addresses, Service

__all__ = ["DevServer", "run_dev_server"]

OnReady = Callable[[Addresses], None]

SNAPSHOTS: Final = "snapshots"
CHANGES_SHOWN: Final = 3

PATIENCE_S: Final = 20.0
"""Longest time that a request waits for a change to be served."""


def run_dev_server(options: Options, *, make_printer: Callable[[Snapshots], Printer], on_ready: OnReady) -> None:
    """Serve a plugin until a signal says otherwise.

    Args:
        options: Of the command line.
        make_printer: Makes the printer, given the copies that files may be in.
        on_ready: Told the addresses once.

    Raises:
        ConfigError: The configuration, apart from the plugin, cannot be used.
        StartupError: The service could not start.
    """
    config = open_settings(options)
    try:
        make_state_dir(config.state_dir)
        snapshots = Snapshots(options.folder, config.state_dir / SNAPSHOTS)
    except OSError as error:
        raise StartupError(f"the state directory {config.state_dir} cannot be used: {error}") from error
    with contextlib.closing(snapshots), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        printer = make_printer(snapshots)
        runner.run(DevServer(options, config, snapshots, printer, on_ready=on_ready).run())


class DevServer:
    """Serves one plugin. Implements `executor.observer.Observer`.

    Args:
        options: Of the command line.
        config: What holds apart from the plugin.
        snapshots: Copies of its folder.
        printer: For everything that happens.
        on_ready: Told the addresses once.
    """

    def __init__(
        self,
        options: Options,
        config: Config,
        snapshots: Snapshots,
        printer: Printer,
        *,
        on_ready: OnReady,
    ) -> None:
        self._options = options
        self._snapshots = snapshots
        self._printer = printer
        self._tell_ready = on_ready
        self._settled = asyncio.Event()
        self._lines = RequestLines(printer, self._hooks, self._settle)
        self._files = options.files
        self._tried: Project | None = None
        self._served: Project | None = None
        self._told: tuple[str, ...] = ()
        self._pending: set[str] = set()
        self._changed = 1
        self._looked_at = 0
        self._seen: object = None
        self._began = time.monotonic()
        self._public = ""
        self._service = Service(
            config, Bound(), reload=self._load, on_ready=self._on_ready, bind=self._bind, observer=self
        )

    async def run(self) -> None:
        """Serve until a signal says otherwise."""
        DevLog(self._printer, self._lines).install()
        watching = asyncio.create_task(self._watch())
        try:
            await self._service.run()
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    def wrap(self, app: Application) -> Application:
        """Print a line for each request."""
        return self._lines.wrap(app)

    def finished(self, figures: Figures) -> None:
        """Take the figures of an invocation."""
        self._lines.finished(figures)

    def reloaded(self, refusals: Sequence[Refusal]) -> None:
        """Tell what came of a reload."""
        changes = self._describe_changes()
        if refusals:
            self._tell_refusals(refusals, changes)
        elif self._tried is not None:
            self._served = self._tried
            self._tell_served(self._served, changes)
        self._pending.clear()
        if self._looked_at == self._changed:
            self._settled.set()

    async def _watch(self) -> None:
        await watch_changes(self._options.folder, self._files, self._on_change, self._on_trouble)

    async def _settle(self) -> None:
        if self._settled.is_set():
            seen = await asyncio.to_thread(look, self._options.folder, self._files)
            if seen is not None and seen != self._seen and self._settled.is_set():
                self._on_change(())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._settled.wait()

    def _on_change(self, names: tuple[str, ...]) -> None:
        """Look at the plugin again, unless it was seen as it is now already."""
        if names and self._seen is not None and self._seen == look(self._options.folder, self._files):
            self._pending.update(names if not self._settled.is_set() else ())
            return
        if self._settled.is_set():
            self._began = time.monotonic()
        self._pending.update(names)
        self._changed += 1
        self._settled.clear()
        self._service.request_reload()

    def _on_trouble(self, trouble: str) -> None:
        self._printer.line(("warning: ", "yellow"), trouble)

    def _on_ready(self, addresses: Addresses, _: Bound) -> None:
        self._public = addresses.public
        self._tell_ready(addresses)
        self._printer.line(f"Listening at {addresses.public}; metrics and workers: {addresses.admin}. Ctrl-C ends it.")
        self._service.request_reload()

    def _load(self) -> Config:
        """Read the plugin as it is now. Called in a thread."""
        self._looked_at = self._changed
        self._seen = look(self._options.folder, self._files)
        try:
            files = self._snapshots.take()
        except SnapshotError as error:
            problem = Problem(name="", place=Place(), found="", expected="", message=str(error))
            raise ConfigError((problem,)) from error
        self._tried = open_project(self._options, files)
        return self._tried.config

    def _bind(self, _: Config) -> Bound:
        if self._tried is None:
            raise RuntimeError("nothing was read")
        hook = self._tried.hook
        own = frozenset({hook.plugin.root} if self._tried.own else ())
        return Bound((hook.plugin,), {hook.hook_id: hook}, self._tried.warnings, own=own)

    def _hooks(self) -> Mapping[str, BoundHook]:
        return {self._served.hook.hook_id: self._served.hook} if self._served is not None else {}

    def _tell_refusals(self, refusals: Sequence[Refusal], changes: str) -> None:
        for refusal in refusals:
            self._printer.problems([self._named(refusal.problem).removeprefix(self._untried())])
            if refusal.traceback:
                self._printer.traceback(refusal.traceback)
        kept = "the last good state is served" if self._served is not None else "nothing is served yet"
        self._printer.line((f"{changes}{kept}; waiting for a change", "yellow"))

    def _tell_served(self, project: Project, changes: str) -> None:
        for warning in project.warnings:
            self._printer.line(("warning: ", "yellow"), self._named(warning))
        plugin, took = project.plugin, time.monotonic() - self._began
        self._printer.line((f"{changes}serving {plugin.name} {plugin.version} ({took:.2f} s)", "bold green"))
        commands = tuple(curl_commands(plugin.endpoints, f"{self._public}/e/{project.hook.hook_id}"))
        if commands != self._told:
            self._told = commands
            for command in commands:
                self._printer.line("  ", (command, "cyan"))

    def _describe_changes(self) -> str:
        """Name the files that have changed, those left out that were there for a moment only."""
        folder = self._options.folder
        before = self._served.plugin.root if self._served is not None else folder
        names = sorted(name for name in self._pending if (folder / name).exists() or (before / name).exists())
        more = f" and {len(names) - CHANGES_SHOWN} more" if len(names) > CHANGES_SHOWN else ""
        return f"{', '.join(names[:CHANGES_SHOWN])}{more} changed; " if names else ""

    def _untried(self) -> str:
        """How the service begins what only a worker can find out; which plugin it is, an author knows."""
        return f"plugin {self._tried.plugin.name}: no worker of it could answer: " if self._tried is not None else ""

    def _named(self, text: str) -> str:
        """Name files by the author's folder, not by the copy that was looked at."""
        root = self._tried.plugin.root if self._tried is not None else None
        return text.replace(f"{root}/", f"{self._options.folder}/") if root is not None else text

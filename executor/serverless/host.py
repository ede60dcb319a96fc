"""The functions that are there: launching, finding, and starting them when they are called.

A function is bound, that is its environment is there and a worker of it has answered, when it is launched; after a
restart of the service, when it is called for the first time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, final

import structlog

from executor.catalog.plugin import Plugin
from executor.catalog.routing import Router
from executor.config.effective import effective_limits
from executor.config.model import Config
from executor.config.serverless import Serverless
from executor.environments.builder import EnvironmentBuilder
from executor.environments.shelf import Use
from executor.errors import ExecutorError
from executor.figures.registry import Registry
from executor.hooks import BoundHook
from executor.serverless.errors import FunctionError, LaunchError
from executor.serverless.form import LaunchForm
from executor.serverless.functions import FOLDER, FUNCTIONS, Function, FunctionShelf, new_token
from executor.serverless.launch import Launch
from executor.serverless.preparing import Preparing
from executor.supervisor.supervisor import Supervisor

__all__ = ["FunctionHost"]

log = structlog.get_logger("executor.serverless")

SWEEP_S: Final = 3600.0
"""Seconds between two looks for functions that nobody calls."""

BOUND_AT_ONCE: Final = 4
"""Functions that are made ready to be called at the same time, in threads of their own: it may take minutes, and is to
hold up nothing else that is done in threads."""

LAUNCHES_AT_ONCE: Final = 2
"""Packages that are held in memory, and environments that are built, at the same time."""


@final
class FunctionHost:
    """All functions of one service.

    Args:
        config: The configuration.
        supervisor: Runs them. Borrowed.
        builder: Builds environments. Borrowed.
        settings: The section `serverless` of it.
        registry: Told the names of functions, which count as hooks in figures.
    """

    def __init__(
        self,
        config: Config,
        supervisor: Supervisor,
        builder: EnvironmentBuilder,
        *,
        settings: Serverless,
        registry: Registry,
    ) -> None:
        folder = config.state_dir / FOLDER
        self._config = config
        self._supervisor = supervisor
        self._builder = builder
        self._settings = settings
        self._registry = registry
        self._preparing = Preparing(config, folder, builder)
        self._shelf = FunctionShelf(folder / FUNCTIONS)
        self._functions: dict[str, Function] = {}
        self._by_token: dict[bytes, Function] = {}
        self._bound: dict[str, BoundHook] = {}
        self._binding: dict[str, asyncio.Task[BoundHook]] = {}
        self._launches: dict[tuple[str, bytes], tuple[Launch, asyncio.Task[None]]] = {}
        self._claimed: dict[str, Function] = {}
        self._uses: dict[str, Use] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._places = asyncio.Semaphore(LAUNCHES_AT_ONCE)
        self._threads = ThreadPoolExecutor(BOUND_AT_ONCE, "functions")

    @property
    def count(self) -> int:
        """How many functions there are."""
        return len(self._functions)

    async def open(self) -> None:
        """Read what was launched before, and keep the environments of that."""
        for function in await asyncio.to_thread(self._shelf.read):
            self._keep(function)
        if self._settings.keep_time is not None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep_for_ever(self._settings.keep_time))

    async def close(self) -> None:
        """End what is under way."""
        self._builder.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        tasks: list[asyncio.Task[object]] = [task for _, task in self._launches.values()]
        tasks += self._binding.values()
        tasks += [self._sweeper] if self._sweeper is not None else []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for use in self._uses.values():
            use.close()

    def find(self, filename: str) -> Function | None:
        """Find a function by the name of its package."""
        return next((function for function in self._functions.values() if function.filename == filename), None)

    def find_token(self, token: str) -> Function | None:
        """Find a function by the secret part of its URL, in a time that tells nothing about the others."""
        return self._by_token.get(_hash(token))

    def launch(self, form: LaunchForm, url_of: Callable[[Function], str]) -> AsyncIterator[bytes]:
        """Launch a plugin, or join the launch of the same package; the lines that tell about it."""
        key = form.filename, form.digest
        under_way = self._launches.get(key)
        if under_way is None:
            launch = Launch()
            task = asyncio.get_running_loop().create_task(self._launch(launch, form, url_of))
            under_way = self._launches[key] = (launch, task)
            task.add_done_callback(lambda _: self._launches.pop(key, None))
        return under_way[0].read()

    async def follow(self) -> None:
        """Forget the functions that a command has removed, and remove their files."""
        gone = [function for function in self._functions.values() if not self._shelf.has(function)]
        for function in gone:
            self._forget(function)
        if gone:
            try:
                await self._sweep_files()
            except OSError as error:
                log.error("serverless.sweep_failed", problem=str(error))

    async def obtain(self, function: Function) -> BoundHook:
        """Return what serves a function, starting it if it has not been called yet.

        Raises:
            ExecutorError: It cannot be called; the text says why.
        """
        if function.name not in self._functions:
            raise _removed(function)
        hook = self._bound.get(function.name)
        if hook is not None:
            self._shelf.touch(function)
            return hook
        hook = await self._bind_once(function, _tell_log(function))
        self._shelf.touch(function)
        return hook

    async def _bind_once(self, function: Function, progress: Callable[[str], None]) -> BoundHook:
        """Bind a function, or wait for who does."""
        task = self._binding.get(function.name)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._bind(function, progress))
            self._binding[function.name] = task
            task.add_done_callback(lambda _: self._binding.pop(function.name, None))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise FunctionError("the executor is shutting down") from None
            raise

    async def _launch(self, launch: Launch, form: LaunchForm, url_of: Callable[[Function], str]) -> None:
        stage = "build"
        began = time.monotonic()
        try:
            async with self._places:
                function = await self._unpack(form)
                hook = await self._bind_once(function, _tell_both(launch, function))
                stage = "run"
                environment = hook.plugin.environment
                function = replace(function, environment=environment.digest if environment is not None else "")
                await asyncio.to_thread(self._shelf.put, function)
            self._keep(function)
            launch.succeed(url_of(function), function.name)
            seconds = round(time.monotonic() - began, 3)
            log.info("serverless.launched", function=function.name, plugin=function.identifier, duration_s=seconds)
        except (ExecutorError, OSError) as error:
            log.warning("serverless.launch_failed", package=form.filename[:300], problem=str(error))
            launch.fail(stage, str(error))
        except asyncio.CancelledError:
            launch.fail(stage, "the executor is shutting down")
            raise
        except Exception:
            log.exception("serverless.launch_broken", package=form.filename[:300])
            launch.fail(stage, "the executor failed; its log says how")
        finally:
            self._claimed.pop(form.filename, None)

    async def _unpack(self, form: LaunchForm) -> Function:
        claimed = _claim(form.filename)
        known = self._functions.get(claimed.name)
        most = self._settings.functions
        if known is None and len(self._functions) >= most:
            raise LaunchError(
                f"there is no room for another function: serverless.functions is {most}; `executor function remove` "
                "makes room"
            )
        self._claimed[form.filename] = claimed
        return await asyncio.to_thread(self._preparing.unpack, form, known or claimed)

    async def _bind(self, function: Function, progress: Callable[[str], None]) -> BoundHook:
        """Have everything that a call needs, and see that a worker answers."""
        known = self._bound.get(function.name)
        if known is not None:
            return known
        plugin = await self._load(function, progress)
        hook = self._make_hook(function, plugin)
        self._supervisor.pin(plugin)
        try:
            results = await self._supervisor.probe([plugin], {plugin.root: hook.limits})
            problem = results[plugin.root].problem
            if problem:
                raise FunctionError(f"no worker of {function.identifier} could answer: {problem}")
            if function.name not in {one.name for one in self._list_wanted()}:
                raise _removed(function)
        except BaseException:
            self._supervisor.unpin(plugin)
            raise
        self._registry.expect_hooks([function.name])
        self._bound[function.name] = hook
        return hook

    async def _load(self, function: Function, progress: Callable[[str], None]) -> Plugin:
        """Have its plugin and environment, in a thread; whoever is cancelled waits for its end."""
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._preparing.load, function, progress)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await asyncio.wait({work})
            raise

    def _make_hook(self, function: Function, plugin: Plugin) -> BoundHook:
        limits = effective_limits(self._config, plugin.root, function.name, memory_hint_bytes=plugin.memory_hint_bytes)
        return BoundHook(  # with no section `worker`: a function is called for many tenants, and is to remember none
            hook_id=function.name,
            plugin=plugin,
            router=Router(plugin.endpoints, mode="dify"),
            settings={},
            limits=limits,
            enabled=True,
        )

    def _keep(self, function: Function) -> None:
        self._functions[function.name] = function
        self._by_token[_hash(function.token)] = function
        if function.environment and function.name not in self._uses:
            self._uses[function.name] = self._builder.shelf.use(function.environment)

    async def _sweep_for_ever(self, keep_s: float) -> None:
        """Remove functions that nobody calls, now and then."""
        while True:
            try:
                await self._sweep(time.time() - keep_s)
            except OSError as error:
                log.error("serverless.sweep_failed", problem=str(error))
            await asyncio.sleep(SWEEP_S)

    async def _sweep(self, since: float) -> None:
        """Remove the functions that nobody has called since then, and files that belong to none."""
        for function in list(self._functions.values()):
            busy = function.name in self._binding or function.filename in self._claimed
            if not busy and self._shelf.last_use(function) < since:
                self._shelf.remove(function)
                self._forget(function)
        await self._sweep_files()

    async def _sweep_files(self) -> None:
        """Remove the files that belong to no function, and that nothing is served from."""
        live = self._supervisor.live_folders()
        removed = await asyncio.to_thread(self._preparing.sweep, self._list_wanted, live)
        for folder in removed:
            log.info("serverless.files_removed", folder=str(folder))

    def _list_wanted(self) -> list[Function]:
        """List the functions whose files are needed; called by a thread."""
        return [*list(self._functions.values()), *list(self._claimed.values())]

    def _forget(self, function: Function) -> None:
        """Forget a function whose file is gone; calls of it that have begun run to their end."""
        del self._functions[function.name]
        del self._by_token[_hash(function.token)]
        hook = self._bound.pop(function.name, None)
        if hook is not None:
            self._supervisor.unpin(hook.plugin)
            self._registry.forget_hooks([function.name])
        use = self._uses.pop(function.name, None)
        if use is not None:
            use.close()
        log.info("serverless.removed", function=function.name, plugin=function.identifier)


def _claim(filename: str) -> Function:
    """Read the name of a package.

    Raises:
        LaunchError: It is not one.
    """
    parts = filename.removesuffix(".difypkg").split("@")
    if not filename.endswith(".difypkg") or len(parts) != 4 or len(filename) > 1000:  # noqa: PLR2004
        raise LaunchError(f"expected author@name@version@checksum.difypkg, found {filename[:200]!r}")
    author, plugin, version, checksum = parts
    return Function(
        token=new_token(),
        author=author,
        plugin=plugin,
        version=version,
        checksum=checksum,
        launched_at=time.time(),
    )


def _removed(function: Function) -> FunctionError:
    return FunctionError(f"{function.identifier} was removed; install it again")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _tell_log(function: Function) -> Callable[[str], None]:
    return lambda line: log.info("serverless.build", function=function.name, detail=line)


def _tell_both(launch: Launch, function: Function) -> Callable[[str], None]:
    tell = _tell_log(function)

    def tell_both(line: str) -> None:
        tell(line)
        launch.tell(line)

    return tell_both

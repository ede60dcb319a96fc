"""Calling one endpoint without a server: the gateway, one invocation and one sandboxed worker, without connections.

The request goes through the same gateway as one that comes over HTTP, so the endpoint sees the same, and what it
answers is treated in the same way. Only the two ends are different: the body comes from a file or standard input, and
the answer goes wherever an `Answerer` puts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar, cast

from prometheus_client import CollectorRegistry

from executor.authoring.project import Project
from executor.authoring.request import PIECE, Readable, Request
from executor.config.instance import make_state_dir
from executor.environments.builder import EnvironmentBuilder
from executor.environments.environment import Environment
from executor.environments.errors import BuildError
from executor.errors import ExecutorError
from executor.figures.calls import CallFigures
from executor.figures.figures import Figures
from executor.gateway.app import Gateway, GatewayState
from executor.gateway.client import ASGIClient
from executor.hooks import BoundHook
from executor.isolation.host import HostIsolation
from executor.reverse.desk import CallDesk
from executor.reverse.open_target import open_target
from executor.store.keeper import keep_store
from executor.supervisor.admission import Admission
from executor.supervisor.invocation import Invocation
from executor.supervisor.output import LogRecord
from executor.supervisor.ready_worker import StartError
from executor.supervisor.runtime import PluginRuntime
from executor.supervisor.zygote_tree import ZygoteTree
from protocol.messages import Invoke

__all__ = ["Answerer", "CallError", "Called", "call_endpoint"]

T = TypeVar("T")

NO_TIME_S: Final = 3600.0
"""Nobody else is in the queue."""


class CallError(ExecutorError):
    """No worker could be had; the text says why."""

    code = "call.worker"
    exit_status = 6


class Answerer(Protocol):
    """Takes what an endpoint answers. Its methods are called in a thread, one after another."""

    def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Take the head."""

    def write(self, data: bytes) -> None:
        """Take a piece of the body."""

    def log(self, record: LogRecord) -> None:
        """Take what the endpoint printed or logged; called in the event loop."""


@dataclass(slots=True)
class Called:
    """What came of a call.

    Attributes:
        figures: Of the invocation.
        start_s: How long it took to make a place for the worker, before the invocation began.
        status: Of the answer; 0 when there was none.
    """

    figures: Figures | None = None
    start_s: float = 0.0
    status: int = 0


def call_endpoint(project: Project, request: Request, answerer: Answerer, progress: Callable[[str], None]) -> Called:
    """Call an endpoint that the hook's router finds for the request.

    Args:
        project: The plugin.
        request: To be answered.
        answerer: Takes the answer.
        progress: Told what is going on while an environment is built.

    Raises:
        CallError: There was no worker.
        ConfigError: What is configured to answer reverse calls cannot be used.
        OSError: The body could not be read, or the answer not written.
        KeyboardInterrupt: Somebody lost patience. The worker is gone.
    """
    with asyncio.Runner() as runner:
        return runner.run(_Call(project, request, answerer, progress).run())


class _Call:
    def __init__(self, project: Project, request: Request, answerer: Answerer, progress: Callable[[str], None]) -> None:
        self._project = project
        self._request = request
        self._answerer = answerer
        self._progress = progress
        self._called = Called()
        self._body: Readable | None = None
        self._failure: OSError | None = None
        self._gone = asyncio.Event()
        self._desk: CallDesk

    async def run(self) -> Called:
        config = self._project.config
        async with contextlib.AsyncExitStack() as stack:
            host = stack.enter_context(contextlib.closing(HostIsolation(config.isolation)))
            builder = stack.enter_context(EnvironmentBuilder(config.state_dir, config.environments, host))
            environment = self._project.plugin.environment
            if self._project.own:
                environment = await self._build(builder)
            self._desk = await self._open_desk(stack)
            tree = ZygoteTree(asyncio.get_running_loop(), host)
            await self._call(tree, environment)
            if self._body is not None:
                self._body.close()
        if self._failure is not None:
            raise self._failure
        return self._called

    async def _open_desk(self, stack: contextlib.AsyncExitStack) -> CallDesk:
        """Make ready what answers the endpoint's reverse calls, as it is configured."""
        config = self._project.config
        try:
            make_state_dir(config.state_dir)
            store = await stack.enter_async_context(keep_store(config, lambda _: None))
            target = await asyncio.to_thread(open_target, config.reverse)
        except OSError as error:
            raise CallError(f"the state directory {config.state_dir} cannot be used: {error}") from error
        desk = CallDesk(config.reverse, target, storage=store.storage, figures=CallFigures(CollectorRegistry()))
        stack.push_async_callback(desk.close)
        return desk

    async def _build(self, builder: EnvironmentBuilder) -> Environment:
        """Have the plugin's own environment, which takes a while the first time."""
        plugin = self._project.plugin
        work = asyncio.ensure_future(asyncio.to_thread(builder.build, plugin.root, plugin.digest, self._progress))
        try:
            return await asyncio.shield(work)
        except BuildError as error:
            raise CallError(f"no environment: {error}") from error
        except asyncio.CancelledError:
            builder.cancel()
            await asyncio.wait({work})
            raise

    async def _call(self, tree: ZygoteTree, environment: Environment | None) -> None:
        hook = self._project.hook
        self._runtime = PluginRuntime(hook.plugin.name, str(hook.plugin.root), tree, environment=environment)
        gateway = Gateway(self._invoke)
        gateway.state = GatewayState(hooks={hook.hook_id: hook}, debug=self._project.config.debug)
        try:
            began = time.monotonic()
            await self._runtime.warm_up()
            self._called.start_s = time.monotonic() - began
            await gateway(self._request.scope(f"/e/{hook.hook_id}"), self._receive, self._send)
        except StartError as error:
            raise CallError(str(error)) from error
        finally:
            self._runtime.close()
            await tree.close()
            await self._runtime.wait_closed()

    async def _invoke(self, invoke: Invoke, rule: str, hook: BoundHook, client: ASGIClient) -> None:
        invocation = Invocation(
            invoke=replace(invoke, debug=True),  # measured in full; what is answered depends on the gateway alone
            rule=rule,
            limits=hook.limits,
            client=client,
            runtime=self._runtime,
            admission=Admission(concurrency=1, queue_length=0, queue_time_s=NO_TIME_S),
            record=self._record,
            emit_log=lambda _hook, _invocation, record: self._answerer.log(record),
        )
        invocation.open_broker = self._desk.for_invocation(invoke, hook.plugin, hook.limits)
        await invocation.run()

    def _record(self, figures: Figures) -> None:
        self._called.figures = figures

    async def _receive(self) -> MutableMapping[str, Any]:
        """Read the next piece of the body; after the last one, wait until the answer cannot be written any more."""
        if self._body is None and self._request.body is not None:
            self._body = self._request.body.open()
        if self._body is not None and not self._body.closed:
            try:
                data = await _in_thread(self._body.read, PIECE)
            except OSError as error:
                self._give_up(error)
                return {"type": "http.disconnect"}
            if not data:
                self._body.close()
            return {"type": "http.request", "body": data, "more_body": bool(data)}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if self._gone.is_set():
            return
        try:
            if message["type"] == "http.response.start":
                self._called.status = message["status"]
                await _in_thread(self._answerer.start, message["status"], message["headers"])
            elif message["body"]:
                await _in_thread(self._answerer.write, message["body"])
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._failure = self._failure or error
        self._gone.set()


async def _in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Run what may wait for a terminal or a pipe, in a thread that does not keep the program from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast("T", result))

    def run() -> None:
        result, failure = None, None
        try:
            result = function(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=run, daemon=True).start()
    return await done

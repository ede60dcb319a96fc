"""The service: start, serve, reload, drain, stop.

The life cycle reads from top to bottom in `Service.run`. Signals only set flags, from the very beginning; whatever
lasts looks at them: SIGHUP reloads, SIGTERM and SIGINT end a start or a reload and then drain, a second one of these
ends the draining at once. Everything that is opened is closed in reverse, however far the start has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import structlog

from executor.config.instance import announce, make_state_dir
from executor.config.model import Config
from executor.config.places import ConfigError
from executor.environments.builder import EnvironmentBuilder
from executor.errors import StartupError, number_of
from executor.figures.admin import create_admin_app
from executor.figures.figures import Figures
from executor.figures.live import Snapshot
from executor.figures.registry import Registry
from executor.gateway.app import Gateway
from executor.gateway.client import ASGIClient
from executor.gateway.http_protocol import HeadLimits
from executor.hooks import Bound, BoundHook, bind_hooks
from executor.installed.binding import InstalledHooks
from executor.installed.watch import Applied, StoreWatch
from executor.isolation.host import HostIsolation
from executor.notify import notify_manager
from executor.observer import Observer, Refusal
from executor.server import HttpServer, open_listener
from executor.serverless.server import ServerlessServer
from executor.serving import Serving
from executor.store.errors import StoreError
from executor.store.keeper import keep_store
from executor.store.store import Store
from executor.supervisor.supervisor import Supervisor
from executor.vault.keyring import key_source
from executor.vault.vault import Vault
from protocol.messages import Invoke

__all__ = ["Addresses", "Service"]

log = structlog.get_logger("executor.service")

ADMIN_CONNECTIONS: Final = 256


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the service can be reached, once it is up."""

    public: str
    admin: str


class Service:
    """One running executor.

    Args:
        config: What to serve, validated.
        bound: The hooks of `config`; those of the store are read when the service starts.
        reload: Reads the configuration again, with the same command line.
        on_ready: Called once with the addresses, when requests are served.
        bind: Binds the hooks of a configuration.
        observer: Is told what happens.
    """

    def __init__(
        self,
        config: Config,
        bound: Bound,
        *,
        reload: Callable[[], Config],
        on_ready: Callable[[Addresses, Bound], None],
        bind: Callable[[Config], Bound] = bind_hooks,
        observer: Observer | None = None,
    ) -> None:
        self._config = config
        self._configured = bound
        self._reload_config = reload
        self._on_ready = on_ready
        self._bind = bind
        self._observer = observer
        self._registry = Registry()
        self._wake = asyncio.Event()
        self._stop_signals = 0
        self._reload_wanted = False
        self._ready = False
        self._gateway = Gateway(self._run_invocation)
        self._serving: Serving
        self._watch: StoreWatch
        self._supervisor: Supervisor
        self._functions: ServerlessServer | None = None
        self._public: HttpServer
        self._admin: HttpServer

    async def run(self) -> None:
        """Serve until a signal says otherwise.

        Raises:
            StartupError: The service could not start.
        """
        config = self._config
        _raise_descriptor_limit()
        self._install_signal_handlers()
        async with contextlib.AsyncExitStack() as stack:
            public = stack.enter_context(open_listener(config.listen.host, config.listen.port, option="--port"))
            admin = stack.enter_context(open_listener(config.admin.host, config.admin_port, option="--admin-port"))
            self._make_state_dir(config.state_dir)
            store = await stack.enter_async_context(keep_store(config, self._registry.observe_store))
            host = stack.enter_context(contextlib.closing(HostIsolation(config.isolation)))
            builder = stack.enter_context(EnvironmentBuilder(config.state_dir, config.environments, host))
            self._supervisor = Supervisor(
                host=host, admission=config.admission, spares=config.spares, record=self._record
            )
            stack.push_async_callback(self._supervisor.close)
            self._serving = self._prepare(store, host, builder)
            self._watch = StoreWatch(store.generation, self._wake.set)
            self._functions = await self._open_functions(stack, host, store)
            if not await self._unless_stopped(self._load_first()):
                log.info("service.stopped", ended_invocations=0)
                return
            await self._start_servers(public, admin, stack)
            addresses = Addresses(_url(config.listen.host, public), _url(config.admin.host, admin))
            self._announce(addresses, stack)
            self._tell_ready(addresses)
            await self._serve()
            await self._drain()

    def _prepare(self, store: Store, host: HostIsolation, builder: EnvironmentBuilder) -> Serving:
        vault = Vault(key_source(self._config.secrets.key, self._config.state_dir))
        return Serving(
            self._config,
            host=host,
            supervisor=self._supervisor,
            gateway=self._gateway,
            registry=self._registry,
            installed=InstalledHooks(store, self._config.state_dir, vault),
            builder=builder,
            storage=store.storage,
        )

    def request_reload(self) -> None:
        """Read the configuration and the plugins again, as SIGHUP does."""
        self._reload_wanted = True
        self._wake.set()

    async def _load_first(self) -> None:
        """Prove that a worker of each plugin answers, before anybody is told that the service is ready."""
        for warning in self._configured.warnings:
            log.warning("plugin.warning", detail=warning)
        try:
            applied, refusals = await self._serving.change(self._config, self._configured)
        except StoreError as error:
            raise StartupError(str(error)) from error
        if refusals:
            raise StartupError("\n".join(refusal.problem for refusal in refusals))
        self._watch.finish(applied)

    async def _open_functions(
        self, stack: contextlib.AsyncExitStack, host: HostIsolation, store: Store
    ) -> ServerlessServer | None:
        """Take the port for a Dify daemon, if one is to be served."""
        if self._config.serverless is None:
            return None
        functions = ServerlessServer(self._config, self._supervisor, self._registry, host=host, storage=store.storage)
        stack.push_async_callback(functions.stop)
        await functions.open()
        return functions

    async def _start_servers(
        self, public: socket.socket, admin: socket.socket, stack: contextlib.AsyncExitStack
    ) -> None:
        http = self._config.http
        limits = HeadLimits(
            url_size=http.url_size,
            header_size=http.header_size,
            header_count=http.header_count,
            header_time_s=http.header_time,
            connections=http.connections,
            client_idle_time_s=self._config.limits.client_idle_time,
        )
        admin_app = create_admin_app(
            self._registry, self._snapshot, self._config.admin.allowed_hosts, refresh=self._watch.ask
        )
        self._admin = HttpServer(admin_app, admin, replace(limits, connections=ADMIN_CONNECTIONS))
        self._public = HttpServer(
            self._observer.wrap(self._gateway) if self._observer else self._gateway, public, limits
        )
        for server in (self._admin, self._public):
            await server.start()
            stack.push_async_callback(server.stop)
        if self._functions is not None:
            await self._functions.start()

    def _install_signal_handlers(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._handle_stop)
        loop.add_signal_handler(signal.SIGHUP, self.request_reload)

    def _announce(self, addresses: Addresses, stack: contextlib.AsyncExitStack) -> None:
        state_dir = self._config.state_dir
        try:
            stack.enter_context(announce(state_dir, public=addresses.public, admin=addresses.admin))
        except OSError as error:
            raise _unusable(state_dir, error) from error

    def _tell_ready(self, addresses: Addresses) -> None:
        self._ready = True
        hooks = len(self._serving.bound.hooks)
        log.info("service.ready", public=addresses.public, admin=addresses.admin, pid=os.getpid(), hooks=hooks)
        self._on_ready(addresses, self._serving.bound)
        notify_manager("READY=1", f"STATUS=Serving {number_of(hooks, 'hook')} at {addresses.public}")

    async def _serve(self) -> None:
        looking = asyncio.create_task(self._watch.look())
        try:
            while not self._stop_signals:
                if self._reload_wanted:
                    self._reload_wanted = False
                    await self._unless_stopped(self._reload())
                elif self._watch.wanted:
                    await self._unless_stopped(self._refresh())
                else:
                    await self._wake.wait()
                    self._wake.clear()
        finally:
            looking.cancel()
            self._watch.close()

    async def _unless_stopped(self, step: Coroutine[Any, Any, None]) -> bool:
        """Take a step that may last; give it up when a signal says stop. Whether it was taken."""
        task = asyncio.create_task(step)
        while not task.done() and not self._stop_signals:
            await self._wake_or(task)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if task.cancelled():
            return False
        task.result()
        return True

    async def _wake_or(self, task: asyncio.Task[Any]) -> None:
        """Wait for the task or a signal."""
        wake = asyncio.create_task(self._wake.wait())
        await asyncio.wait({task, wake}, return_when=asyncio.FIRST_COMPLETED)
        wake.cancel()
        self._wake.clear()

    async def _drain(self) -> None:
        """Take no new work, let running work finish, end what does not, and close."""
        log.info("service.draining", grace_s=self._config.drain.grace_time)
        notify_manager("STOPPING=1")
        self._gateway.draining = True
        self._public.stop_accepting()
        if self._functions is not None:
            self._functions.stop_accepting()
        drain = asyncio.create_task(self._supervisor.drain(self._config.drain.grace_time))
        while not drain.done():
            if self._stop_signals > 1:
                log.warning("service.stopping_at_once")
                self._supervisor.end_all()
                await drain
            else:
                await self._wake_or(drain)
        ended = drain.result()
        await self._public.stop()
        await self._admin.stop()
        log.info("service.stopped", ended_invocations=ended)

    async def _reload(self) -> None:
        """Serve what the configuration says now; keep what is served if anything is wrong with it."""
        notify_manager("RELOADING=1")
        refusals = await self._load_again()
        for refusal in refusals:
            log.error("service.reload_refused", problem=refusal.problem)
        if self._observer is not None:
            self._observer.reloaded(refusals)
        notify_manager("READY=1")

    async def _load_again(self) -> list[Refusal]:
        """Put the configuration in force as it is now, unless something is wrong with it."""
        try:
            config = await asyncio.to_thread(self._reload_config)
            configured = await asyncio.to_thread(self._bind, config)
            applied, refusals = await self._serving.change(config, configured)
        except ConfigError as error:
            return [Refusal(str(problem)) for problem in error.problems]
        except StoreError as error:
            return [Refusal(str(error))]
        except Exception as error:
            log.exception("service.reload_failed")
            return [Refusal(f"the configuration could not be read: {error!r}")]
        if not refusals:
            self._watch.finish(applied)
            self._tell_changed("service.reloaded")
        return refusals

    async def _refresh(self) -> None:
        """Serve what the store says now, with the configuration as it is in force, and forget removed functions."""
        self._watch.begin()
        try:
            if self._functions is not None:
                await self._functions.follow()
            applied, refusals = await self._serving.change(self._serving.config, self._serving.configured)
            problems = [refusal.problem for refusal in refusals]
        except StoreError as error:
            applied, problems = Applied(), [str(error)]
        except Exception as error:
            log.exception("service.refresh_failed")
            applied, problems = Applied(), [f"the store could not be read: {error!r}"]
        if problems:
            log.error("service.refresh_refused", problems=problems)
            self._watch.finish(replace(self._watch.applied, problem="; ".join(problems)))
        else:
            self._tell_changed("service.refreshed")
            self._watch.finish(applied)

    def _tell_changed(self, event: str) -> None:
        log.info(event, hooks=len(self._serving.bound.hooks), plugins=len(self._serving.bound.plugins))

    def _record(self, figures: Figures) -> None:
        self._registry.record(figures)
        if self._observer is not None:
            self._observer.finished(figures)

    async def _run_invocation(self, invoke: Invoke, rule: str, hook: BoundHook, client: ASGIClient) -> None:
        await self._supervisor.run(invoke, rule, hook, client)

    def _snapshot(self) -> Snapshot:
        draining = self._gateway.draining
        reasons = ("the service is draining",) if draining else () if self._ready else ("the service is starting",)
        return Snapshot(
            workers=self._supervisor.live_workers(),
            slots=self._supervisor.count_slots(),
            queued=self._supervisor.admission.queued,
            ready=not reasons,
            reasons=reasons,
            draining=draining,
        )

    def _make_state_dir(self, state_dir: Path) -> None:
        try:
            make_state_dir(state_dir)
        except OSError as error:
            raise _unusable(state_dir, error) from error

    def _handle_stop(self) -> None:
        self._stop_signals += 1
        self._wake.set()


def _unusable(state_dir: Path, error: OSError) -> StartupError:
    return StartupError(f"the state directory {state_dir} cannot be used: {error}; choose another with --state-dir")


def _raise_descriptor_limit() -> None:
    """Use all descriptors that the system allows: each connection needs one, each worker four."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _url(host: str, listener: socket.socket) -> str:
    """The address to show: a wildcard is reached through the loopback."""
    port = listener.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"

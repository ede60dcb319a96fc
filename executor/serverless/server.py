"""The listener for a Dify daemon, from its socket to the end of its last call."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, final

import structlog

from executor.catalog.plugin import Plugin
from executor.config.limits import Limits
from executor.config.model import Config
from executor.config.reverse import Reverse, StorageSettings
from executor.environments.builder import EnvironmentBuilder
from executor.figures.registry import Registry
from executor.gateway.http_protocol import HeadLimits
from executor.hooks import BoundHook
from executor.isolation.host import HostIsolation
from executor.reverse.broker import CallBroker, CallLink
from executor.reverse.budget import ByteBudget
from executor.reverse.desk import CallDesk
from executor.server import HttpServer, open_listener
from executor.serverless.app import ServerlessApp
from executor.serverless.host import FunctionHost
from executor.serverless.invoking import Invoking
from executor.serverless.key import read_daemon_key
from executor.serverless.raw_request import RawRequestLimits
from executor.serverless.session_client import SessionClient
from executor.store.storage import PluginStorage
from executor.supervisor.supervisor import Supervisor
from protocol.messages import Invoke

__all__ = ["ServerlessServer"]

log = structlog.get_logger("executor.serverless")

LAUNCH_HEADERS: Final = HeadLimits(
    url_size=4096, header_size=16 * 1024, header_count=64, header_time_s=15.0, connections=1024, client_idle_time_s=60.0
)
"""Bounds of the daemon's own requests; it has few headers and short URLs."""


@final
class ServerlessServer:
    """The listener, and all functions.

    Args:
        config: The configuration; it has a section `serverless`.
        supervisor: Runs invocations. Borrowed.
        registry: Counts.
        host: What environments are built with. Borrowed.
        storage: What plugins keep, where no daemon keeps it.

    Raises:
        StartupError: The port cannot be had, or the key not read, or it is too short.
    """

    def __init__(
        self,
        config: Config,
        supervisor: Supervisor,
        registry: Registry,
        *,
        host: HostIsolation,
        storage: PluginStorage,
    ) -> None:
        settings = config.serverless
        if settings is None:
            raise ValueError("the configuration has no section serverless")
        self._settings = settings
        self._supervisor = supervisor
        self._desk: CallDesk | None = None
        if settings.daemon is not None:
            from executor.reverse.targets.daemon import DaemonTarget  # and with it an HTTP client

            reverse = Reverse(storage=StorageSettings(kept="target"))
            target = DaemonTarget(settings.daemon)
            self._desk = CallDesk(reverse, target, storage=storage, figures=registry.calls)
        idle_time_s = config.limits.client_idle_time
        self._builder = EnvironmentBuilder(config.state_dir, config.environments, host)
        self._functions = FunctionHost(config, supervisor, self._builder, settings=settings, registry=registry)
        http = config.http
        self._invoking = Invoking(
            self._functions,
            self._run,
            request_size=settings.request_size,
            limits=RawRequestLimits(http.url_size, http.header_size, http.header_count),
            idle_time_s=idle_time_s,
            memory=ByteBudget(settings.memory),
            queue_time_s=config.admission.queue_time,
        )
        self._invoking.debug = config.debug
        self._app = ServerlessApp(
            self._functions,
            self._invoking,
            key=read_daemon_key(settings),
            package_bytes=config.packages.limits.package_bytes,
            idle_time_s=idle_time_s,
        )
        self._listener = open_listener(settings.host, settings.port, option="serverless.port")
        self._server: HttpServer | None = None

    async def open(self) -> None:
        """Read what was launched before."""
        await self._functions.open()

    async def follow(self) -> None:
        """Forget the functions that a command has removed."""
        await self._functions.follow()

    async def start(self) -> None:
        """Begin to serve."""
        self._app.base = self._settings.url or _url(self._settings.host, self._listener)
        self._server = HttpServer(self._app, self._listener, LAUNCH_HEADERS)
        await self._server.start()
        log.info("serverless.ready", url=self._app.base, functions=self._functions.count)

    def stop_accepting(self) -> None:
        """Take no new work."""
        self._app.draining = True
        if self._server is not None:
            self._server.stop_accepting()

    async def stop(self) -> None:
        """Close everything, when no invocation is left."""
        self.stop_accepting()
        await self._functions.close()
        if self._server is not None:
            await self._server.stop()
        self._listener.close()
        self._builder.close()
        if self._desk is not None:
            await self._desk.retire()

    async def _run(self, invoke: Invoke, rule: str, hook: BoundHook, client: SessionClient, session_id: str) -> None:
        desk = _SessionDesk(self._desk, session_id) if self._desk is not None else None
        await self._supervisor.run(invoke, rule, hook, client, desk=desk)


class _SessionDesk:
    """The desk of one session, whose calls the daemon that made it answers."""

    def __init__(self, desk: CallDesk, session_id: str) -> None:
        self._desk = desk
        self._session_id = session_id

    def for_invocation(
        self, invoke: Invoke, plugin: Plugin, limits: Limits, tenant_id: str | None = None
    ) -> Callable[[CallLink, Callable[[], None]], CallBroker]:
        return self._desk.for_invocation(invoke, plugin, limits, tenant_id, session_id=self._session_id)

    def in_use(self) -> AbstractContextManager[None]:
        return self._desk.in_use()


def _url(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

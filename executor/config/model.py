"""The configuration: every setting of the executor once, with unit, range, default and meaning.

The models are immutable and refuse unknown keys. They read and write nothing: files are read by `load`,
references to secrets are resolved by `references`, and `effective` joins the levels of limits.
`docs/settings.md`, the JSON Schema and the output of `executor config show` are made from the declarations
here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, PrivateAttr, model_validator
from pydantic_core import CoreSchema

from executor.config.environments import EnvironmentPlace, EnvironmentSettings
from executor.config.instance import default_state_dir
from executor.config.isolation import Isolation
from executor.config.limits import Limits
from executor.config.packages import Packages
from executor.config.places import Problem, Source
from executor.config.references import SettingValue
from executor.config.reverse import Reverse
from executor.config.section import Section
from executor.config.serverless import Serverless
from executor.config.store import StoreSettings
from executor.config.texts import FilePath, HookId, HostName, Network, NonEmpty, Origin
from executor.config.units import Count, Duration, Size
from executor.config.vault import SecretSettings
from executor.config.worker import WorkerSettings

__all__ = [
    "Admin",
    "AdmissionLimits",
    "Compat",
    "Config",
    "Cors",
    "Drain",
    "Hook",
    "HttpLimits",
    "Listen",
    "LogOutput",
    "PluginSource",
    "SpareSettings",
]

Port = Annotated[int, Count(0, 65535)]
Flag = Annotated[bool, Field(strict=True)]


class Listen(Section):
    """The address that serves hooks."""

    host: HostName = Field(
        default="127.0.0.1",
        description="Address to listen on. `0.0.0.0` or `::` serve other machines as well.",
    )
    port: Port = Field(default=8080, description="TCP port; 0 picks a free one.")


class Admin(Section):
    """The address that serves metrics, health and live workers. No authentication: keep it on loopback."""

    host: HostName = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port | None = Field(
        default=None,
        description="TCP port; 0 picks a free one. Not given: the one after `listen.port`; 0 if that is 0.",
    )
    allowed_hosts: tuple[HostName, ...] = Field(
        default=(),
        description="Names, besides `localhost` and IP addresses, under which the listener may be addressed. "
        "Requests for other names are refused, so that no web page can reach it by DNS rebinding.",
    )


class Compat(Section):
    """Compatibility with the reference stack."""

    routing: Literal["http", "dify"] = Field(
        default="http",
        description="`http`: 404, 405 with `Allow`, 308 for a missing slash. `dify`: 404 for all of them.",
    )


class Cors(Section):
    """Answers to browsers on other origins, for paths whose plugin declares no `OPTIONS` endpoint."""

    origins: tuple[Origin, ...] = Field(
        min_length=1,
        description='Origins that may call hooks, such as `https://app.example.org`; `"*"` for all.',
    )
    headers: tuple[NonEmpty, ...] = Field(
        default=("Content-Type",),
        description="Request headers that a page may set; `*` for those it asks for.",
    )
    expose: tuple[NonEmpty, ...] = Field(default=(), description="Response headers that a page may read.")
    credentials: Flag = Field(
        default=False,
        description='Whether cookies and authentication may be sent; not together with origin `"*"`.',
    )
    max_age: Annotated[float, Duration("0s", "24h", "10m")] = Field(
        default=600.0, description="How long a browser may remember the answer to a preflight."
    )


class LogOutput(Section):
    """The executor's own log, on standard error."""

    format: Literal["auto", "json", "console"] = Field(
        default="auto",
        description="`json`: one JSON object per line. `console`: for people. "
        "`auto`: `console` on a terminal, `json` otherwise.",
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level that is written."
    )


class Drain(Section):
    """The end of the service."""

    grace_time: Annotated[float, Duration("0s", "1h")] = Field(
        default=30.0,
        description="Time that running invocations get to finish after SIGTERM, before they are ended.",
    )


class AdmissionLimits(Section):
    """Limits over all hooks together."""

    concurrency: Annotated[int, Count(1, 10_000)] = Field(
        default=64, description="Invocations, that is worker processes, that run at the same time."
    )
    queue_length: Annotated[int, Count(0, 1_000_000)] = Field(
        default=1024, description="Requests that may wait. Over it: 503 `queue.full`."
    )
    queue_time: Annotated[float, Duration("0s", "10m", "10s")] = Field(
        default=10.0,
        description="Longest wait of one request. Over it: 503 `queue.full` or 429 `queue.hook`.",
    )


class SpareSettings(Section):
    """Workers that are made before a request needs them, and have imported its source already.

    There are as many as the rate of requests asks for, and none for hooks that nobody calls.
    """

    total: Annotated[int, Count(0, 10_000)] = Field(
        default=32, description="Spare workers of all hooks together; 0: none."
    )
    per_task: Annotated[int, Count(0, 1_000)] = Field(
        default=8, description="Spare workers for one endpoint, of hooks that have the same plugin and limits."
    )
    idle_time: Annotated[float, Duration("1s", "24h", "30s")] = Field(
        default=30.0, description="How long after the last request for an endpoint its spare workers are kept."
    )
    free_memory: Annotated[int, Size("0 B", "16 TiB", "256 MiB")] = Field(
        default=256 * 1024**2, description="No spare worker is made while the host has less memory available."
    )


class HttpLimits(Section):
    """Limits of connections and of a request's head, within what the worker protocol can carry."""

    connections: Annotated[int, Count(1, 1_000_000)] = Field(
        default=4096, description="Client connections open at the same time; further ones are closed at once."
    )
    header_count: Annotated[int, Count(1, 900)] = Field(default=100, description="Header fields. Over it: 431.")
    header_size: Annotated[int, Size("1 KiB", "160 KiB", "64 KiB")] = Field(
        default=64 * 1024, description="All header fields together. Over it: 431."
    )
    url_size: Annotated[int, Size("256 B", "20 KiB", "16 KiB")] = Field(
        default=16 * 1024, description="Path and query as they were sent. Over it: 414."
    )
    header_time: Annotated[float, Duration("100ms", "10m", "15s")] = Field(
        default=15.0,
        description="Time that a client gets to send the head. Over it the connection is closed.",
    )


class PluginSource(Section):
    """A plugin folder to serve; a plain path stands for `{path: PATH}`."""

    path: FilePath = Field(description="The folder that holds `manifest.yaml`.")
    environment: EnvironmentPlace | None = Field(
        default=None,
        description="What its workers import from. `own`: an environment built from the plugin's `pyproject.toml` or "
        "`requirements.txt`, with the Dify SDK that they name. `shared`: the executor's own, with the bundled SDK. "
        "A path: a virtual environment that is there, for Python 3.11 to 3.14. Not given: as in `environments`.",
    )
    limits: Limits = Field(
        default_factory=Limits,
        description="Limits for the hooks of this plugin, in place of the general ones.",
    )
    worker: WorkerSettings = Field(
        default_factory=WorkerSettings,
        description="How long workers live for the hooks of this plugin, in place of the general `worker`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe both forms to editors."""
        return {"anyOf": [{"type": "string"}, handler(schema)]}


class Hook(Section):
    """A plugin's endpoints under one address, `/e/<hook id>/`, with the values of the plugin's settings."""

    plugin: NonEmpty | None = Field(
        default=None,
        description="The plugin's name, as its manifest says. Not given: the same as the hook's id.",
    )
    enabled: Flag = Field(default=True, description="Whether requests are served; otherwise they get 404.")
    settings: dict[str, SettingValue] = Field(
        default_factory=dict,
        repr=False,
        description="Values of the plugin's settings, by name: plain values, `{from_env: NAME}` for an "
        "environment variable of the executor, `{from_file: PATH}` for the content of a file.",
    )
    limits: Limits = Field(
        default_factory=Limits,
        description="Limits for this hook, in place of the plugin's and the general ones.",
    )
    worker: WorkerSettings = Field(
        default_factory=WorkerSettings,
        description="How long workers live for this hook, in place of the plugin's and the general `worker`.",
    )
    _values: dict[str, object] = PrivateAttr(default_factory=dict)

    @property
    def values(self) -> dict[str, object]:
        """The settings with every reference resolved, as a copy that the caller may change. Secret."""
        return copy.deepcopy(self._values)


class Config(Section):
    """The whole configuration."""

    listen: Listen = Field(default_factory=Listen, description=Listen.__doc__)
    admin: Admin = Field(default_factory=Admin, description=Admin.__doc__)
    debug: Flag = Field(
        default=False, description="Whether answers to failed requests tell what happened, with tracebacks."
    )
    compat: Compat = Field(default_factory=Compat, description=Compat.__doc__)
    cors: Cors | None = Field(default=None, description=f"{Cors.__doc__} Not given: off.")
    trusted_proxies: tuple[Network, ...] = Field(
        default=(),
        description="Addresses and networks of proxies whose `X-Forwarded-*` and `Dify-Hook-Url` count.",
    )
    state_dir: FilePath = Field(
        default_factory=default_state_dir,
        description="Folder for state; made with mode 0700. "
        "Not given: `$XDG_STATE_HOME/endpoint-executor`, that is `~/.local/state/endpoint-executor`.",
    )
    store: StoreSettings = Field(default_factory=StoreSettings, description=StoreSettings.__doc__)
    secrets: SecretSettings = Field(default_factory=SecretSettings, description=SecretSettings.__doc__)
    log: LogOutput = Field(default_factory=LogOutput, description=LogOutput.__doc__)
    drain: Drain = Field(default_factory=Drain, description=Drain.__doc__)
    limits: Limits = Field(default_factory=Limits, description="Limits of every hook, unless its plugin or it differs.")
    worker: WorkerSettings = Field(default_factory=WorkerSettings, description=WorkerSettings.__doc__)
    isolation: Isolation = Field(default_factory=Isolation, description=Isolation.__doc__)
    admission: AdmissionLimits = Field(default_factory=AdmissionLimits, description=AdmissionLimits.__doc__)
    spares: SpareSettings = Field(default_factory=SpareSettings, description=SpareSettings.__doc__)
    environments: EnvironmentSettings = Field(
        default_factory=EnvironmentSettings, description=EnvironmentSettings.__doc__
    )
    http: HttpLimits = Field(default_factory=HttpLimits, description=HttpLimits.__doc__)
    packages: Packages = Field(default_factory=Packages, description=Packages.__doc__)
    reverse: Reverse = Field(default_factory=Reverse, description=Reverse.__doc__)
    serverless: Serverless | None = Field(default=None, description=f"{Serverless.__doc__} Not given: off.")
    plugins: tuple[PluginSource, ...] = Field(default=(), description="Plugin folders to serve.")
    hooks: dict[HookId, Hook] = Field(
        default_factory=dict,
        description="Hooks by id. A plugin without any gets one whose id is the plugin's name.",
    )
    _source: Source = PrivateAttr(default_factory=Source)
    _notes: tuple[Problem, ...] = PrivateAttr(default=())

    @property
    def source(self) -> Source:
        """Where each value was given, for messages about it."""
        return self._source

    @property
    def notes(self) -> tuple[Problem, ...]:
        """What is allowed and yet worth saying: warnings and notes."""
        return self._notes

    @cached_property
    def plugin_places(self) -> Mapping[Path, int]:
        """The places of plugins in `plugins`, by their folders, with links followed as they were at the first use."""
        return {plugin.path.resolve(): index for index, plugin in enumerate(self.plugins)}

    @property
    def admin_port(self) -> int:
        """The port of the admin listener: as configured, or the one after `listen.port`; 0 for a free one."""
        if self.admin.port is not None:
            return self.admin.port
        return self.listen.port + 1 if self.listen.port else 0

"""The section `reverse`: who answers the calls that endpoints make back to Dify."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from executor.config.reverse_targets import DaemonSettings, DifySettings, OpenAiSettings
from executor.config.section import Section
from executor.config.texts import FilePath, NonEmpty
from executor.config.units import Size

__all__ = ["Reverse", "StorageSettings"]


class StorageSettings(Section):
    """Values that plugins keep with `session.storage`."""

    scope: Literal["plugin", "hook"] = Field(
        default="plugin",
        description="`plugin`: all hooks of a plugin share its values, as in Dify. `hook`: each hook has its own.",
    )
    kept: Literal["here", "target"] = Field(
        default="here",
        description="`here`: in the executor's store. `target`: with the target, which only a `daemon` can do.",
    )
    quota: Annotated[int, Size("0 B", "1 TiB", "100 MiB")] = Field(
        default=100 * 1024**2,
        description="Most that one plugin, or hook, may keep; its manifest's `storage.size` lowers it.",
    )


class Reverse(Section):
    """Calls that endpoints make back to Dify: `session.app`, `.model`, `.tool`, `.workflow_node`, `.file`."""

    target: Literal["none", "dify", "daemon", "openai", "fixtures"] = Field(
        default="none",
        description="Who answers. `none`: nobody, each call fails. `dify`: Dify's inner API, see `dify`. "
        "`daemon`: a Dify daemon, see `daemon`. `openai`: a server that speaks OpenAI's protocol, see `openai`. "
        "`fixtures`: a file, for development, see `fixtures`.",
    )
    tenant: NonEmpty = Field(
        default="default",
        description="Dify's id of the workspace that the plugins belong to. Kept values belong to it as well.",
    )
    user: Literal["hook", "client"] = Field(
        default="hook",
        description="Who Dify takes for the user. `hook`: one user for all requests of a hook, so that any of them can "
        "go on with a conversation. `client`: one for each address that requests come from.",
    )
    memory: Annotated[int, Size("1 MiB", "1 TiB", "256 MiB")] = Field(
        default=256 * 1024**2,
        description="Large requests of calls, those over 64 KiB, that are held at the same time, over all invocations; "
        "more of them wait. As much again may have come of calls that wait for others of their invocation to end; more "
        "of those fail.",
    )
    fixtures: FilePath | None = Field(
        default=None,
        description="The file with the answers of the target `fixtures`.",
    )
    dify: DifySettings | None = Field(default=None, description=DifySettings.__doc__)
    daemon: DaemonSettings | None = Field(default=None, description=DaemonSettings.__doc__)
    openai: OpenAiSettings | None = Field(default=None, description=OpenAiSettings.__doc__)
    storage: StorageSettings = Field(default_factory=StorageSettings, description="What plugins may keep, and where.")

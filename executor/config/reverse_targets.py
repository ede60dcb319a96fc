"""Who may answer reverse calls: Dify, a Dify daemon, or an endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from executor.config.peer import BaseUrl, Peer
from executor.config.secret import Secret
from executor.config.texts import NonEmpty

__all__ = ["DaemonSettings", "DifySettings"]

Flag = Annotated[bool, Field(strict=True)]


class DifySettings(Peer):
    """Dify's inner API, which answers reverse calls when `reverse.target` is `dify`."""

    url: BaseUrl = Field(
        description="Where Dify's API is, without `/inner/api`: Dify's own `PLUGIN_DIFY_INNER_API_URL`."
    )
    api_key: Secret = Field(
        description="The key of the inner API, by reference: Dify's own `PLUGIN_DIFY_INNER_API_KEY`."
    )
    workspace: NonEmpty | None = Field(
        default=None,
        description="Id of the workspace of Dify that calls are made in. Not given: the tenant of the hook.",
    )
    user: Literal["caller", "none"] = Field(
        default="caller",
        description="`caller`: calls are made for an end user of Dify that stands for whoever called the hook. `none`: "
        "for Dify's end user `DEFAULT-USER`, as Dify itself does for endpoints; versions of Dify that know no other "
        "get that anyway.",
    )
    files_url: tuple[BaseUrl, ...] = Field(
        default=(),
        description="Where else files may be uploaded to, when Dify's `FILES_URL` is not at `url`.",
    )


class DaemonSettings(Peer):
    """A Dify daemon, which answers reverse calls when `reverse.target` is `daemon`: for `PLATFORM=serverless`."""

    url: BaseUrl = Field(description="Where the daemon is: the plugins' own `DIFY_PLUGIN_DAEMON_URL`.")
    files_url: tuple[BaseUrl, ...] = Field(
        default=(), description="Where files may be uploaded to: Dify's `FILES_URL`. Not given: nowhere."
    )

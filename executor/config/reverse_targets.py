"""Who may answer reverse calls: Dify, a Dify daemon, or an endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from executor.config.confidential import Confidential
from executor.config.peer import BaseUrl, Peer

__all__ = ["DaemonSettings", "DifySettings"]

Flag = Annotated[bool, Field(strict=True)]


class DifySettings(Peer):
    """Dify's inner API, which answers reverse calls when `reverse.target` is `dify`."""

    url: BaseUrl = Field(
        description="Where Dify's API is, without `/inner/api`: Dify's own `PLUGIN_DIFY_INNER_API_URL`."
    )
    api_key: Confidential = Field(description="The key of the inner API: Dify's own `PLUGIN_DIFY_INNER_API_KEY`.")
    end_users: Flag = Field(
        default=True,
        description="Whether Dify is told who the user is, see `reverse.user`. `false`: all calls are made for Dify's end "
        "user `DEFAULT-USER`, as its own daemon does for endpoints. Versions up to 1.14.2 need that for conversations: "
        "they make a new end user for each call, or know none but their own (then it happens by itself).",
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

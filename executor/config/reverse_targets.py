"""Who may answer reverse calls: Dify, a Dify daemon, or an endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from executor.config.confidential import Confidential
from executor.config.peer import BaseUrl, Peer
from executor.config.section import Section
from executor.config.texts import NonEmpty, Text

__all__ = ["DaemonSettings", "DifySettings", "OpenAiApp", "OpenAiSettings"]

Flag = Annotated[bool, Field(strict=True)]
AnyText = Annotated[str, Text(lambda text: text, "a text")]


class DifySettings(Peer):
    """Dify's inner API, which answers reverse calls when `reverse.target` is `dify`."""

    url: BaseUrl = Field(
        description="Where Dify's API is, without `/inner/api`: Dify's own `PLUGIN_DIFY_INNER_API_URL`."
    )
    api_key: Confidential = Field(description="The key of the inner API: Dify's own `PLUGIN_DIFY_INNER_API_KEY`.")
    end_users: Flag = Field(
        default=True,
        description="Whether Dify is told who the user is, see `reverse.user`. `false`: all calls are made for Dify's "
        "end user `DEFAULT-USER`, as its own daemon does for endpoints. Versions up to 1.14.2 need that for "
        "conversations: they make a new end user for each call, or know none but their own, and then it happens "
        "by itself.",
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


class OpenAiApp(Section):
    """An app of Dify's that is stood in for: each message to it is a chat of its own, with one question."""

    model: NonEmpty = Field(description="Name of the model at the server.")
    instructions: AnyText = Field(
        default="",
        description="What the model is told first. `{{name}}` stands for the app's input of that name.",
    )


class OpenAiSettings(Peer):
    """A server that speaks OpenAI's protocol, which answers reverse calls when `reverse.target` is `openai`."""

    url: BaseUrl = Field(
        default="https://api.openai.com/v1",
        description="Where the server is, with all that comes before `/chat/completions`.",
    )
    api_key: Confidential | None = Field(default=None, description="The key of the server. Not given: none is sent.")
    models: dict[str, NonEmpty] = Field(
        default_factory=dict,
        description="Names of models at the server, by the names that plugins use: `PROVIDER/MODEL`, `MODEL`, or `*` "
        "for all others. Not given: plugins may use every model, under its own name.",
    )
    summary_model: NonEmpty | None = Field(
        default=None, description="The model of summaries, by its name at the server. Not given: there are none."
    )
    structured_output: Literal["json_schema", "json_object"] = Field(
        default="json_schema",
        description="How the server is asked for an answer of a certain shape. `json_object`: for servers that do not "
        "know schemas; the model is told the schema in words.",
    )
    stream_usage: Flag = Field(
        default=True, description="Whether the server can count the tokens of answers that are streamed."
    )
    apps: dict[str, OpenAiApp] = Field(
        default_factory=dict, description="Apps of Dify that are stood in for, by id; `*` for all others."
    )

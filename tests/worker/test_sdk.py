"""The bundled stand-in for the SDK: the names that endpoint code imports, light, and honest about what it cannot do."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.worker.played_calls import PlayedCalls
from worker.loader import STAND_IN
from worker.session import _find_session_class, make_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.worker.driver import Plugin

IMPORTS = """
from dify_plugin import Endpoint, Plugin, DifyPluginEnv, Tool, ToolProvider, ModelProvider, LargeLanguageModel, File
from dify_plugin import AgentStrategy, TextEmbeddingModel, get_current_session
from dify_plugin.config.config import DifyPluginEnv, InstallMethod
from dify_plugin.config.logger_format import DifyPluginLoggerFormatter, plugin_logger_handler
from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation, Session
from dify_plugin.core.session_context import get_current_session
from dify_plugin.entities import I18nObject, ParameterOption
from dify_plugin.entities.invoke_message import InvokeMessage
from dify_plugin.entities.model import EmbeddingInputType, ModelFeature, ModelType
from dify_plugin.entities.model.llm import LLMModelConfig, LLMResult, LLMResultChunk, LLMResultChunkDelta, LLMUsage
from dify_plugin.entities.model.message import (
    AssistantPromptMessage, ImagePromptMessageContent, PromptMessage, PromptMessageContentType, PromptMessageRole,
    PromptMessageTool, SystemPromptMessage, TextPromptMessageContent, ToolPromptMessage, UserPromptMessage,
)
from dify_plugin.entities.model.moderation import ModerationModelConfig
from dify_plugin.entities.model.rerank import RerankModelConfig, RerankResult
from dify_plugin.entities.model.schema import ModelUsage
from dify_plugin.entities.model.speech2text import Speech2TextModelConfig
from dify_plugin.entities.model.text_embedding import TextEmbeddingModelConfig, TextEmbeddingResult
from dify_plugin.entities.model.tts import TTSModelConfig, TTSResult
from dify_plugin.entities.provider_config import AppSelectorScope, CredentialType, LogMetadata, ProviderConfig
from dify_plugin.entities.tool import ToolDescription, ToolIdentity, ToolInvokeMessage, ToolParameter
from dify_plugin.entities.tool import ToolParameterOption, ToolProviderType, ToolRuntime, ToolSelector
from dify_plugin.entities.workflow_node import ClassConfig, ModelConfig, ParameterConfig
from dify_plugin.errors.model import CredentialsValidateFailedError, InvokeError, InvokeRateLimitError
from dify_plugin.errors.tool import ToolProviderCredentialValidationError
from dify_plugin.file.constants import DIFY_FILE_IDENTITY
from dify_plugin.file.entities import FileType
from dify_plugin.file.file import File
from dify_plugin.interfaces.agent import AgentModelConfig, AgentProvider, AgentToolIdentity, ToolEntity
from dify_plugin.interfaces.endpoint import Endpoint
from dify_plugin.interfaces.model import ModelProvider
from dify_plugin.interfaces.model.large_language_model import LargeLanguageModel
from dify_plugin.interfaces.model.text_embedding_model import TextEmbeddingModel
from dify_plugin.interfaces.tool import Tool, ToolProvider
from dify_plugin.invocations.app.chat import ChatAppInvocation
from dify_plugin.invocations.app.workflow import WorkflowAppInvocation
from dify_plugin.invocations.file import File, UploadFileResponse
from dify_plugin.invocations.model.llm import LLMInvocation
from dify_plugin.invocations.storage import StorageInvocation, StorageInvocationError
from dify_plugin.invocations.tool import ToolInvocation
"""


@pytest.fixture(autouse=True)
def forget_session_class() -> Iterator[None]:
    """Have every test find the class of its own SDK."""
    _find_session_class.cache_clear()
    yield
    _find_session_class.cache_clear()


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-in, importable for one test."""
    monkeypatch.syspath_prepend(STAND_IN)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "dify_plugin"]:
        del sys.modules[name]


def test_names(plugin: Plugin) -> None:
    """Endpoint code that imports every name that real plugins import is loaded."""
    plugin.endpoint("return Response('loaded')", top=IMPORTS)

    answer = plugin.call()

    assert (answer.error, answer.body) == (None, b"loaded")


def test_unknown_name(plugin: Plugin) -> None:
    """A name that the stand-in has not is refused like any other."""
    plugin.endpoint("return Response('')", top="from dify_plugin import OAICompatProvider")

    error = plugin.call().error

    assert error is not None
    assert error.code == "load"
    assert "cannot import name 'OAICompatProvider' from 'dify_plugin'" in error.message


def test_import_is_light() -> None:
    """Importing it brings in its own base modules and nothing heavy."""
    program = (
        f"import sys, werkzeug; sys.path.append({STAND_IN!r}); before = set(sys.modules); import dify_plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    printed = subprocess.check_output([sys.executable, "-I", "-c", program], text=True)

    assert {
        "dify_plugin",
        "dify_plugin.core",
        "dify_plugin.core.runtime",
        "dify_plugin.interfaces",
        "dify_plugin.interfaces.endpoint",
    } == set(printed.split())


def test_session(sdk: None) -> None:
    """The session knows who is called, and is of nobody else."""
    session = make_session(invocation_id="i", hook_id="h", calls=PlayedCalls())

    assert (session.session_id, session.endpoint_id) == ("i", "h")
    assert (session.conversation_id, session.message_id, session.app_id) == (None, None, None)
    assert session.context.credentials.get_credential_id("x") is None
    with pytest.raises(AttributeError):
        session.nothing  # noqa: B018 - reading is the test


def test_data(sdk: None) -> None:
    """Records are made of keywords, have defaults of their own, and become dictionaries and JSON."""
    from dify_plugin.entities.model.llm import LLMModelConfig, LLMUsage
    from dify_plugin.entities.model.message import AssistantPromptMessage, PromptMessageRole, UserPromptMessage

    config = LLMModelConfig(provider="p", model="m", model_type="llm", mode="chat")
    config.completion_params["x"] = 1
    assert LLMModelConfig().completion_params == {}
    assert (config.model_dump(mode="json")) == {
        "model_type": "llm",
        "completion_params": {"x": 1},
        "provider": "p",
        "model": "m",
        "mode": "chat",
    }
    assert config == LLMModelConfig.model_validate_json(config.model_dump_json())
    assert config != LLMUsage.empty_usage()
    assert config is LLMModelConfig.model_validate(config)
    assert config.model_copy(update={"model": "other"}).model == "other"
    message = UserPromptMessage(content=[config])
    assert PromptMessageRole.USER is message.role
    assert "role" in message.model_dump()
    assert "name" not in message.model_dump(exclude_none=True)
    assert message.model_dump()["content"][0]["provider"] == "p"
    assert AssistantPromptMessage(content="").is_empty()
    assert not AssistantPromptMessage(tool_calls=[1]).is_empty()
    assert "UserPromptMessage(" in repr(message)


def test_configuration(sdk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings come from keywords, else from the environment, else they have their defaults."""
    from dify_plugin import DifyPluginEnv
    from dify_plugin import Plugin as SdkPlugin

    monkeypatch.setenv("MAX_WORKER", "7")
    monkeypatch.setenv("INSTALL_METHOD", "remote")
    env = DifyPluginEnv(MAX_REQUEST_TIMEOUT=120)

    assert (
        env.MAX_REQUEST_TIMEOUT,
        env.MAX_WORKER,
        env.INSTALL_METHOD.value,
        env.MAX_INVOCATION_TIMEOUT,
    ) == (120, 7, "remote", 250)
    with pytest.raises(RuntimeError, match=r"main\.py"):
        SdkPlugin(env).run()


def test_tool_messages(sdk: None) -> None:
    """Endpoints may share code with tools."""
    from dify_plugin import Tool

    class Mine(Tool):
        def _invoke(self, tool_parameters: dict[str, Any]) -> Iterator[Any]:
            yield self.create_text_message(tool_parameters["x"])
            yield self.create_json_message({"a": 1})

    text, data = Mine.from_credentials({}).invoke({"x": "hello"})

    assert (text.type.value, text.message.text) == ("text", "hello")
    assert data.message.to_dict() == {"json_object": {"a": 1}}


def test_tools_of_a_setting(sdk: None) -> None:
    """What a setting of type array[tools] holds becomes records, down to the options of parameters."""
    from dify_plugin.entities.tool import ToolDescription, ToolParameter, ToolProviderType
    from dify_plugin.interfaces.agent import AgentToolIdentity, ToolEntity

    parameter = ToolParameter(
        name="unit",
        label={"en_US": "Unit"},
        type="select",
        form="llm",
        options=[{"value": "m", "label": {"en_US": "metres"}}],
    )
    tool = ToolEntity(
        identity={"author": "a", "name": "measure", "label": {"en_US": "Measure"}, "provider": "p"},
        parameters=[parameter],
        description=ToolDescription(human={"en_US": "h"}, llm="l"),
        provider_type="api",
    )

    assert parameter.type is ToolParameter.ToolParameterType.SELECT
    assert parameter.form is ToolParameter.ToolParameterForm.LLM
    assert [(option.value, option.label.ja_JP) for option in parameter.options or []] == [("m", "metres")]
    assert (parameter.llm_description, parameter.required) == (None, False)
    assert isinstance(tool.identity, AgentToolIdentity)
    assert tool.identity.label.en_US == "Measure"
    assert (tool.provider_type, tool.runtime_parameters) == (ToolProviderType.API, {})
    assert ToolEntity(identity=tool.identity, parameters=None).parameters == []
    with pytest.raises(ValueError, match="telepathy"):
        ToolParameter(type="telepathy")


def test_data_in_pydantic_models(sdk: None) -> None:
    """A plugin's pydantic model may have records as fields; mappings become records, anything else is refused."""
    import pydantic
    from dify_plugin.interfaces.agent import ToolEntity

    model = pydantic.create_model("Given", tools=(list[ToolEntity] | None, ...))

    given: Any = model.model_validate({"tools": [{"identity": {"name": "n"}}, ToolEntity(identity=None)]})

    assert [type(tool) for tool in given.tools] == [ToolEntity, ToolEntity]
    assert given.tools[0].identity.name == "n"
    assert given.model_dump()["tools"][0]["provider_type"].value == "builtin"
    assert '"name":"n"' in given.model_dump_json()
    with pytest.raises(pydantic.ValidationError, match="found int"):
        model.model_validate({"tools": [1]})


@pytest.mark.parametrize(
    ("mime_type", "kind"),
    [
        ("image/png", "image"),
        ("video/mp4", "video"),
        ("audio/ogg", "audio"),
        ("text/plain", "document"),
        ("", "document"),
    ],
)
def test_uploaded_file(sdk: None, mime_type: str, kind: str) -> None:
    """What a file is follows from its media type."""
    from dify_plugin.invocations.file import UploadFileResponse

    file = UploadFileResponse(id="i", name="n", size=1, extension="x", mime_type=mime_type)

    assert file.type.value == kind
    assert file.to_app_parameter() == {"tool_file_id": "i", "transfer_method": "tool_file", "type": kind}

import importlib
import json
import os

from dify_plugin import DifyPluginEnv, Endpoint, Plugin, Tool, ToolProvider
from dify_plugin.entities.model import ModelType
from dify_plugin.entities.model.llm import LLMModelConfig
from dify_plugin.entities.model.message import SystemPromptMessage, UserPromptMessage
from dify_plugin.entities.tool import ToolInvokeMessage
from dify_plugin.invocations.app.chat import ChatAppInvocation
from flask import Request as FlaskRequest
from flask import Response as FlaskResponse

INVOCATIONS = {
    "app.chat": "ChatAppInvocation",
    "app.completion": "CompletionAppInvocation",
    "app.workflow": "WorkflowAppInvocation",
    "file": "File",
    "model.llm": "LLMInvocation SummaryInvocation",
    "model.moderation": "ModerationInvocation",
    "model.rerank": "RerankInvocation",
    "model.speech2text": "Speech2TextInvocation",
    "model.text_embedding": "TextEmbeddingInvocation",
    "model.tts": "TTSInvocation",
    "storage": "StorageInvocation",
    "tool": "ToolInvocation",
    "workflow_node.parameter_extractor": "ParameterExtractorNodeInvocation",
    "workflow_node.question_classifier": "QuestionClassifierNodeInvocation",
}


class ImportsEndpoint(Endpoint):
    def _invoke(self, r: FlaskRequest, values, settings) -> FlaskResponse:
        made = [type(ChatAppInvocation(self.session)).__name__]
        for module, names in INVOCATIONS.items():
            for name in names.split():
                kind = getattr(importlib.import_module(f"dify_plugin.invocations.{module}"), name)
                made.append(type(kind(self.session)).__name__)
        env = DifyPluginEnv(MAX_REQUEST_TIMEOUT=120)
        config = LLMModelConfig(provider="p", model="m", mode="chat", completion_params={})
        message = UserPromptMessage(content="hello")
        return FlaskResponse(
            json.dumps(
                {
                    "made": len(made),
                    "env": [env.MAX_REQUEST_TIMEOUT, env.REMOTE_INSTALL_KEY, "REMOTE_INSTALL_KEY" in os.environ],
                    "model": [config.model_type.value, ModelType.LLM.value, message.content],
                    "others": [Plugin.__name__, Tool.__name__, ToolProvider.__name__, SystemPromptMessage.__name__],
                    "message": ToolInvokeMessage.__name__,
                }
            ),
            status=201,
            mimetype="application/json",
        )

"""Makes one call, and answers with what came of it as JSON."""

import io
import json

from dify_plugin import Endpoint
from dify_plugin.entities.model.llm import LLMModelConfig
from dify_plugin.entities.model.message import UserPromptMessage
from dify_plugin.entities.model.moderation import ModerationModelConfig
from dify_plugin.entities.model.rerank import RerankModelConfig
from dify_plugin.entities.model.speech2text import Speech2TextModelConfig
from dify_plugin.entities.model.text_embedding import TextEmbeddingModelConfig
from dify_plugin.entities.model.tts import TTSModelConfig
from werkzeug import Response

NAMES = {"provider": "openai", "model": "m"}


class Call(Endpoint):
    def _invoke(self, r, values, settings):
        try:
            found = getattr(self, values["name"])(r.get_data())
        except Exception as error:
            return Response(json.dumps({"error": str(error)}), status=502, content_type="application/json")
        return Response(json.dumps(found, default=plain), content_type="application/json")

    def chat(self, body):
        return self.session.app.chat.invoke(
            app_id="chat-app", query=body.decode(), inputs={}, response_mode="blocking", conversation_id="mine"
        )

    def workflow(self, body):
        return self.session.app.workflow.invoke(
            app_id="workflow", inputs={"text": body.decode()}, response_mode="blocking"
        )

    def app_info(self, body):
        return dict(self.session.app.fetch_app(body.decode()))

    def llm(self, body):
        config = LLMModelConfig(**NAMES, mode="chat", completion_params={"temperature": 0})
        said = [UserPromptMessage(content=body.decode())]
        return self.session.model.llm.invoke(config, said, stream=False)

    def llm_stream(self, body):
        config = LLMModelConfig(**NAMES, mode="chat")
        return list(self.session.model.llm.invoke(config, [UserPromptMessage(content=body.decode())], stream=True))

    def structured(self, body):
        config = LLMModelConfig(**NAMES, mode="chat")
        schema = {"type": "object", "properties": {"city": {"type": "string"}}}
        said = [UserPromptMessage(content=body.decode())]
        return self.session.model.llm_structured_output.invoke(config, said, schema, stream=False)

    def summary(self, body):
        return self.session.model.summary.invoke(body.decode() * 500, "briefly")

    def embedding(self, body):
        return self.session.model.text_embedding.invoke(TextEmbeddingModelConfig(**NAMES), [body.decode(), "b"])

    def rerank(self, body):
        config = RerankModelConfig(**NAMES, score_threshold=0.0, top_n=1)
        return self.session.model.rerank.invoke(config, ["a long one", "short"], body.decode())

    def tts(self, body):
        config = TTSModelConfig(**NAMES, voice="alloy")
        return b"".join(self.session.model.tts.invoke(config, body.decode())).decode()

    def speech2text(self, body):
        return self.session.model.speech2text.invoke(Speech2TextModelConfig(**NAMES), io.BytesIO(body))

    def moderation(self, body):
        return self.session.model.moderation.invoke(ModerationModelConfig(**NAMES), body.decode())

    def tool(self, body):
        return list(self.session.tool.invoke_builtin_tool("time", "now", {"zone": body.decode()}))

    def upload(self, body):
        return self.session.file.upload("cat.png", body, "image/png")

    def storage(self, body):
        self.session.storage.set("k", body)
        return [
            self.session.storage.get("k").decode(),
            self.session.storage.exist("k"),
            self.session.storage.delete("k"),
        ]


def plain(value):
    return value.model_dump(mode="json")

"""Have a language model summarise a text, and answer with JSON."""

from collections.abc import Mapping

from dify_plugin import Endpoint
from dify_plugin.entities.model.message import SystemPromptMessage, UserPromptMessage
from werkzeug import Request, Response
from werkzeug.exceptions import BadRequest


class Summary(Endpoint):
    def _invoke(self, r: Request, values: Mapping, settings: Mapping) -> Response:
        model = settings.get("model")
        if not model:
            return BadRequest("Choose a model in the settings.").get_response()
        result = self.session.model.llm.invoke(
            model_config={"mode": "chat", **model},
            prompt_messages=[
                SystemPromptMessage(content="Summarise the text in one sentence."),
                UserPromptMessage(content=r.get_data(as_text=True)),
            ],
            stream=False,
        )
        return Response(result.message.content + "\n", content_type="text/plain; charset=utf-8")

import json

from dify_plugin import Endpoint
from werkzeug import Request, Response


class SessionEndpoint(Endpoint):
    def _invoke(self, r: Request, values, settings) -> Response:
        names = ("session_id", "endpoint_id", "conversation_id", "message_id", "app_id", "dify_plugin_daemon_url")
        found = {name: getattr(self.session, name) for name in names}
        found["install_method"] = self.session.install_method.value
        parts = ("app.chat", "app.completion", "app.workflow", "model.llm", "model.text_embedding", "model.rerank")
        parts += ("model.speech2text", "model.tts", "model.moderation", "model.summary", "tool", "storage", "file")
        parts += ("workflow_node.question_classifier", "workflow_node.parameter_extractor")
        for part in parts:
            at = self.session
            for name in part.split("."):
                at = getattr(at, name)
            found[part] = type(at).__name__
        return Response(json.dumps(found), content_type="application/json")

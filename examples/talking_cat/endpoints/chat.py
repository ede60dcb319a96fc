"""Talk with an app of Dify: the answer goes to the client as it comes."""

from collections.abc import Iterator, Mapping

from dify_plugin import Endpoint
from werkzeug import Request, Response


class Chat(Endpoint):
    def _invoke(self, r: Request, values: Mapping, settings: Mapping) -> Response:
        question = r.get_data(as_text=True).strip()
        if not question:
            return Response("Say something.\n", status=400)
        return Response(self._answer(question, settings["app"]["app_id"]), content_type="text/plain; charset=utf-8")

    def _answer(self, question: str, app_id: str) -> Iterator[str]:
        events = self.session.app.chat.invoke(app_id=app_id, query=question, inputs={}, response_mode="streaming")
        for event in events:
            if event["event"] in {"message", "agent_message"}:
                yield event["answer"]
        yield "\n"

"""Talks with an app, and streams its answer."""

from dify_plugin import Endpoint
from werkzeug import Response


class Chat(Endpoint):
    def _invoke(self, r, values, settings):
        def stream():
            events = self.session.app.chat.invoke(
                app_id="chat-app", query=r.get_data(as_text=True), inputs={}, response_mode="streaming"
            )
            for event in events:
                yield event.get("answer", "")

        return Response(stream(), content_type="text/plain")

"""What the tests of reverse calls ask for, by name; the answer is JSON, or a stream of lines."""

import io
import json
import threading

from dify_plugin import Endpoint
from dify_plugin.entities.model.message import UserPromptMessage
from dify_plugin.entities.model.text_embedding import TextEmbeddingModelConfig
from dify_plugin.entities.model.tts import TTSModelConfig
from dify_plugin.entities.model.speech2text import Speech2TextModelConfig
from werkzeug import Response

MODEL = {"provider": "p", "model": "m", "mode": "chat", "completion_params": {}}


class Do(Endpoint):
    def _invoke(self, r, values, settings):
        given = json.loads(r.get_data()) if r.headers.get("Content-Type") == "application/json" else {}
        result = getattr(self, values["name"])(r, **given)
        return result if isinstance(result, Response) else Response(json.dumps(result) + "\n")

    def stream(self, r, query="hi"):
        """Lines of a stream that is made of another."""

        def lines():
            for event in self.session.app.chat.invoke(app_id="a", query=query, inputs={}, response_mode="streaming"):
                yield json.dumps(event) + "\n"

        return Response(lines())

    def leave(self, r, query="hi"):
        """Leave a stream after its first event, and go on."""
        events = self.session.app.chat.invoke(app_id="a", query=query, inputs={}, response_mode="streaming")
        first = next(events)
        events.close()
        return [first, self.session.storage.exist("k")]

    def within(self, r, count=3):
        """Calls within a stream that is not read to its end yet."""
        seen = []
        events = self.session.app.chat.invoke(app_id="a", query="long", inputs={}, response_mode="streaming")
        for number, event in enumerate(events):
            if number < count:
                self.session.storage.set(f"seen{number}", json.dumps(event).encode())
                seen.append(len(self.session.storage.get(f"seen{number}")))
        return [len(seen), number + 1]

    def blocking(self, r, query="hi"):
        return self.session.app.chat.invoke(app_id="a", query=query, inputs={}, response_mode="blocking")

    def tell(self, r, query="hi"):
        """The text of an exception."""
        try:
            return self.blocking(r, query)
        except Exception as error:
            return {"error": str(error)}

    def kinds(self, r):
        """One call of several kinds."""
        model = self.session.model
        config = {"provider": "p", "model": "m"}
        return {
            "llm": model.llm.invoke(
                {**MODEL, "model_type": "llm"}, [UserPromptMessage(content="hi")], stream=False
            ).message.content,
            "embedding": model.text_embedding.invoke(TextEmbeddingModelConfig(**config), ["t"]).embeddings,
            "tts": b"".join(model.tts.invoke(TTSModelConfig(**config, voice="v"), "say")).hex(),
            "speech": model.speech2text.invoke(Speech2TextModelConfig(**config), io.BytesIO(b"\0\xff" * 300000)),
            "tool": [m.message.text for m in self.session.tool.invoke_builtin_tool("p", "t", {"q": 1})],
        }

    def denied(self, r):
        try:
            self.session.model.summary.invoke("x" * 2000, "i")
            self.session.workflow_node.question_classifier.invoke([], {"provider": "p"}, "q")
        except Exception as error:
            return {"error": str(error)}

    def upload(self, r):
        """What came is uploaded, without being held as text."""
        file = self.session.file.upload(filename="cat.png", content=r.get_data(), mimetype="image/png")
        return [file.id, file.size, file.to_app_parameter()["type"]]

    def keep(self, r, key="k", size=10):
        self.session.storage.set(key, bytes(size))
        return self.session.storage.exist(key)

    def kept(self, r, key="k"):
        try:
            return len(self.session.storage.get(key))
        except Exception as error:
            return {"error": str(error)}

    def race(self, r, key="race"):
        """Whether we are the first."""
        return self.session.storage.compare_and_set(key, None, b"me")

    def threads(self, r, count=8, query="slow #"):
        """Calls of many threads at once, whose answers take a while each; in the query their numbers."""
        results = [None] * count

        def ask(number):
            results[number] = self.blocking(r, query.replace("#", str(number)))["answer"]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def unread(self, r):
        """Call before the body has been read, which waits on the same pipe."""
        answer = self.blocking(r, "hi")
        return [answer["answer"], len(r.get_data())]

    def late(self, r):
        """Keep a value when the answer is over."""
        response = Response("soon\n")
        response.call_on_close(lambda: self.session.storage.set("late", b"x"))
        return response

    def hang(self, r):
        """Wait for an answer that does not come."""
        return self.blocking(r, "never")

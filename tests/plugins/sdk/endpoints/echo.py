import json

from dify_plugin import Endpoint
from werkzeug import Request, Response


class EchoEndpoint(Endpoint):
    def _invoke(self, r: Request, values, settings) -> Response:
        if r.content_type.startswith("application/json"):
            found = r.get_json()
        elif r.files:
            found = {"fields": r.form.to_dict(), "files": {name: len(file.read()) for name, file in r.files.items()}}
        else:
            found = r.get_data(as_text=True)
        if found == "refuse":
            raise ValueError("nothing of the kind")
        answer = Response(json.dumps(found), content_type="application/json")
        answer.set_cookie("one", "1")
        answer.set_cookie("two", "2")
        return answer

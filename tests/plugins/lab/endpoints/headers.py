"""Repeated headers, cookies, and headers that are not the endpoint's to say."""

from dify_plugin import Endpoint
from werkzeug import Response


class Headers(Endpoint):
    def _invoke(self, r, values, settings):
        response = Response((piece for piece in ["12345", "67890"]))
        response.headers.add("X-Many", "one")
        response.headers.add("X-Many", "two")
        response.set_cookie("first", "1")
        response.set_cookie("second", "2")
        response.headers["Connection"] = "keep-alive, X-Gone"
        response.headers["Transfer-Encoding"] = "chunked"
        response.headers["Content-Length"] = r.args.get("length", "3")
        response.headers["Location"] = "relative/place"
        response.headers["X-Text"] = "caf\xe9"
        response.headers["X-Invocation-Id"] = "made up"
        return response

"""Streams `count` chunks of `size` bytes."""

from dify_plugin import Endpoint
from werkzeug import Response


class Stream(Endpoint):
    def _invoke(self, r, values, settings):
        chunk = b"x" * values["size"]
        return Response((chunk for _ in range(values["count"])), content_type="application/octet-stream")

"""Sends the request's body back, piece by piece as it comes."""

from dify_plugin import Endpoint
from werkzeug import Response


class Echo(Endpoint):
    def _invoke(self, r, values, settings):
        def pieces():
            while data := r.stream.read(65536):
                yield data

        return Response(pieces(), content_type=r.content_type or "application/octet-stream")

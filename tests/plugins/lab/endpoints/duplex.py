"""Answers one line for every line of the request, before the next line is sent."""

from dify_plugin import Endpoint
from werkzeug import Response


class Duplex(Endpoint):
    def _invoke(self, r, values, settings):
        def lines():
            yield "ready\n"
            while line := r.stream.readline():
                yield b"got " + line

        return Response(lines(), content_type="text/plain")

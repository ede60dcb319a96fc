"""Answers without reading the body."""

from dify_plugin import Endpoint
from werkzeug import Response


class Ignore(Endpoint):
    def _invoke(self, r, values, settings):
        return Response("ignored")

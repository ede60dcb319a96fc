"""Answers with any status."""

from dify_plugin import Endpoint
from werkzeug import Response


class Status(Endpoint):
    def _invoke(self, r, values, settings):
        return Response(f"status {values['code']}", status=values["code"])

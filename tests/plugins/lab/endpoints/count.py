"""Counts its requests in a global: always one."""

import os

from dify_plugin import Endpoint
from werkzeug import Response

served = 0


class Count(Endpoint):
    def _invoke(self, r, values, settings):
        global served
        served += 1
        return Response(f"{served} {os.getpid()}")

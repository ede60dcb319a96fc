"""Floods an output."""

import os
import time

from dify_plugin import Endpoint
from werkzeug import Response


class Flood(Endpoint):
    def _invoke(self, r, values, settings):
        kind = values["kind"]
        if kind == "stdout":
            for _ in range(4096):
                os.write(1, b"f" * 65535 + b"\n")
        if kind == "some":
            for _ in range(3000):
                os.write(1, b"s" * 1023 + b"\n")
        if kind == "stop":
            os.write(1, b"f" * 65535)
            time.sleep(30)
        return Response("flooded")

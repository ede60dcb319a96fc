"""Output of every kind."""

import ctypes
import json
import logging
import os
import sys

from dify_plugin import Endpoint
from werkzeug import Response


class Printing(Endpoint):
    def _invoke(self, r, values, settings):
        kind = values["kind"]
        if kind == "print":
            print("to stdout")
            print("to stderr", file=sys.stderr)
            print("no newline", end="")
        elif kind == "descriptors":
            os.write(1, b"raw one\n")
            os.write(2, b"raw two\n")
            for descriptor in (0, 1, 2):
                os.close(descriptor)
        elif kind == "c":
            ctypes.CDLL(None).puts(b"from C")
            ctypes.CDLL(None).fflush(None)
        elif kind == "logging":
            logging.getLogger("my.logger").warning("logged %d", 1)
            logging.getLogger("my.logger").debug("debugged")
        elif kind == "sdk":
            print(json.dumps({"event": "log", "data": {"level": "ERROR", "message": "sdk line", "timestamp": 1.5}}))
        return Response("printed")

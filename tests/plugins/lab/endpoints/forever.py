"""Never stops streaming; says in the log when it is made to."""

import sys

from dify_plugin import Endpoint
from werkzeug import Response


class Forever(Endpoint):
    def _invoke(self, r, values, settings):
        def ticks():
            try:
                while True:
                    yield b"tick" * 256
            finally:
                print("forever was closed", file=sys.stderr, flush=True)

        return Response(ticks(), content_type="text/plain")

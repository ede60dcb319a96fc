"""Every way to raise."""

from dify_plugin import Endpoint
from werkzeug import Response
from werkzeug.exceptions import Forbidden


class Raising(Endpoint):
    def _invoke(self, r, values, settings):
        kind = values["kind"]
        if kind == "value":
            raise ValueError("no such thing")
        if kind == "runtime":
            raise RuntimeError("internal secret")
        if kind == "http":
            raise Forbidden
        if kind == "exit":
            raise SystemExit(3)
        if kind == "recursion":
            return self._invoke(r, values, settings)

        def pieces():
            if kind == "late":
                yield b"first"
            raise RuntimeError("internal secret")
            yield b""

        return Response(pieces())

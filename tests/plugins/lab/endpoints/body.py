"""Bodies of every kind that a Response takes."""

import io

from dify_plugin import Endpoint
from werkzeug import Response
from werkzeug.wsgi import FileWrapper


class Body(Endpoint):
    def _invoke(self, r, values, settings):
        kind = values["kind"]
        bodies = {
            "str": "grüße",
            "bytes": b"bytes",
            "empty": "",
            "none": None,
            "list": ["a", "b", b"c"],
            "tuple": ("a", "b"),
            "dict": {"one": 1, "two": 2},
            "map": map(str, range(3)),
            "iterator": iter([b"i", "t"]),
            "file": FileWrapper(io.BytesIO(b"file" * 1000)),
            "generator": (piece for piece in ["g", b"e", bytearray(b"n"), memoryview(b"!")]),
            "empty-generator": (piece for piece in ()),
            "bad-item": (piece for piece in [b"first", 7]),
            "bad-first-item": (piece for piece in [7]),
            "large": b"L" * (5 << 20),
        }
        return Response(bodies[kind], direct_passthrough=kind == "file")

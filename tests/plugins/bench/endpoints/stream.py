import json
from collections.abc import Iterator, Mapping

from dify_plugin import Endpoint
from werkzeug import Request, Response


class Stream(Endpoint):
    def _invoke(self, r: Request, values: Mapping, settings: Mapping) -> Response:
        """Answer with as many chunks of as many bytes as the JSON in the body says."""
        wanted = json.loads(r.get_data())
        chunk = b"x" * wanted["size"]

        def generator() -> Iterator[bytes]:
            for _ in range(wanted["chunks"]):
                yield chunk

        return Response(generator(), content_type="application/octet-stream")

from collections.abc import Mapping

from dify_plugin import Endpoint
from werkzeug import Request, Response


class Upload(Endpoint):
    def _invoke(self, r: Request, values: Mapping, settings: Mapping) -> Response:
        """Read the body piece by piece, and tell how long it was."""
        size = 0
        while piece := r.stream.read(65536):
            size += len(piece)
        return Response(f"{size} bytes\n", content_type="text/plain")

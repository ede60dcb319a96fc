from collections.abc import Iterator, Mapping

from dify_plugin import Endpoint
from werkzeug import Request, Response


class Duck(Endpoint):
    def _invoke(self, r: Request, values: Mapping, settings: Mapping) -> Response:
        """Answer with the app's id from the path, streamed."""
        app_id = values["app_id"]

        def generator() -> Iterator[str]:
            yield f"{app_id} <br>"

        return Response(generator(), status=200, content_type="text/html")

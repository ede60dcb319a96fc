from collections.abc import Iterator, Mapping

from dify_plugin import Endpoint
from werkzeug import Request, Response


class Hello(Endpoint):
    def _invoke(self, r: Request, values: Mapping, settings: Mapping) -> Response:
        """Answer with a value of the path, as the duck of the example does."""
        name = values["name"]

        def generator() -> Iterator[str]:
            yield f"{name} <br>"

        return Response(generator(), status=200, content_type="text/html")

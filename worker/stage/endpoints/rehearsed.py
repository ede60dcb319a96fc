"""The endpoint of the rehearsal (`worker.rehearsal`): it does what endpoints usually do."""

from collections.abc import Mapping
from typing import Any

from dify_plugin import Endpoint
from werkzeug import Request, Response


class Rehearsed(Endpoint):
    """Answers with what it was asked."""

    def _invoke(self, r: Request, values: Mapping[str, Any], settings: Mapping[str, Any]) -> Response:
        if r.method == "GET":
            return Response(f"{values['name']} {r.args.get('q')} {r.headers.get('Host')} {settings}")
        content = r.get_json()
        pieces = (f"{name}: {value}\n" for name, value in content.items())
        return Response(pieces, status=201, content_type="text/plain", headers={"X-Path": r.path})

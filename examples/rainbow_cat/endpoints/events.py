"""Server-sent events: one meow after the other."""

import json
import time
from collections.abc import Iterator, Mapping

from dify_plugin import Endpoint
from werkzeug import Request, Response


class Events(Endpoint):
    def _invoke(self, r: Request, values: Mapping, settings: Mapping) -> Response:
        """Send `count` events, one every `interval` seconds."""
        count = min(max(r.args.get("count", default=10, type=int), 1), 1000)
        interval = min(max(0.0, r.args.get("interval", default=1.0, type=float)), 10.0)  # in this order nan is 0.0

        def events() -> Iterator[str]:
            for number in range(1, count + 1):
                data = json.dumps({"meow": number, "of": count, "cat": settings.get("cat_name")})
                yield f"id: {number}\nevent: meow\ndata: {data}\n\n"
                if number < count:
                    time.sleep(interval)

        return Response(events(), content_type="text/event-stream", headers={"Cache-Control": "no-cache"})

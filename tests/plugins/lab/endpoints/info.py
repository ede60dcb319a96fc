"""Tells everything that the endpoint can see of its request."""

import json
import os
import sys
from collections.abc import Mapping

from dify_plugin import Endpoint
from werkzeug import Request, Response


class Info(Endpoint):
    def _invoke(self, r: Request, values: Mapping, settings: Mapping) -> Response:
        r.mark = "attributes can be set"
        seen = {
            "method": r.method,
            "path": r.path,
            "url": r.url,
            "script_root": r.script_root,
            "host": r.host,
            "query": r.query_string.decode("latin-1"),
            "args": r.args.to_dict(flat=False),
            "headers": [[name, value] for name, value in r.headers],
            "cookies": r.cookies.to_dict(flat=False),
            "remote_addr": r.remote_addr,
            "values": {name: [type(value).__name__, str(value)] for name, value in values.items()},
            "settings": dict(settings),
            "body": r.get_data(as_text=True),
            "pid": os.getpid(),
            "cwd": os.getcwd(),
            "environ": dict(os.environ),
            "path0": sys.path[0],
            "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
        }
        return Response(json.dumps(seen), content_type="application/json")

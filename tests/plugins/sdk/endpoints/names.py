import importlib
import importlib.metadata
import json
import sys

import executor
import protocol
import worker
from dify_plugin import Endpoint
from werkzeug import Request, Response


class NamesEndpoint(Endpoint):
    def _invoke(self, r: Request, values, settings) -> Response:
        try:
            msgpack = importlib.import_module("msgpack")
        except ModuleNotFoundError:
            msgpack = None
        return Response(
            json.dumps(
                {
                    "modules": [worker.name, protocol.name, executor.name],
                    "msgpack": msgpack
                    and [".".join(map(str, msgpack.version)), msgpack.__file__.startswith(sys.prefix)],
                    "werkzeug": importlib.metadata.version("werkzeug"),
                    "sdk": importlib.metadata.version("dify_plugin"),
                    "python": f"{sys.version_info.major}.{sys.version_info.minor}",
                    "prefix": sys.prefix,
                }
            )
        )

"""Imports modules of the plugin whose names are those of the executor's own packages."""

import executor
import json_utils
import protocol
import worker

from dify_plugin import Endpoint
from werkzeug import Response


class OwnModules(Endpoint):
    def _invoke(self, r, values, settings):
        return Response(" ".join([worker.NAME, protocol.NAME, executor.NAME, json_utils.NAME]))

"""Leaves a trace for the next request, or looks for one."""

import json
import random

from dify_plugin import Endpoint
from werkzeug import Response

from attacks.state import act


class State(Endpoint):
    def _invoke(self, r, values, settings):
        result = act(values["step"], values["name"]) | {"random": random.random()}
        return Response(json.dumps(result), status=200, mimetype="application/json")

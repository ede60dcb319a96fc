"""Attacks after its answer, in the hook that runs when the response is closed; tells of it in its output."""

import importlib

from dify_plugin import Endpoint
from werkzeug import Response

from attacks import run


class Late(Endpoint):
    def _invoke(self, r, values, settings):
        target = r.get_json()
        response = Response("answered")

        def strike():
            importlib.import_module(f"attacks.{values['area']}")
            print("late:", run(values["area"], values["name"], target).decode(), flush=True)

        response.call_on_close(strike)
        return response

"""Runs one attack and tells what came of it."""

import importlib
from collections.abc import Mapping

from dify_plugin import Endpoint
from werkzeug import Request, Response

from attacks import run


class Attack(Endpoint):
    def _invoke(self, r: Request, values: Mapping, settings: Mapping) -> Response:
        importlib.import_module(f"attacks.{values['area']}")
        return Response(run(values["area"], values["name"], r.get_json(silent=True) or {}), mimetype="application/json")

"""Attacks in the middle of its answer."""

import importlib

from dify_plugin import Endpoint
from werkzeug import Response

from attacks import run


class Stream(Endpoint):
    def _invoke(self, r, values, settings):
        target = r.get_json()

        def pieces():
            yield b"begun\n"
            importlib.import_module(f"attacks.{values['area']}")
            yield run(values["area"], values["name"], target) + b"\n"

        return Response(pieces())

"""Does one deed, and tells what came of it if it ever returns."""

import importlib

from dify_plugin import Endpoint

from attacks.deeds import perform


class Deed(Endpoint):
    def _invoke(self, r, values, settings):
        importlib.import_module(f"attacks.{values['area']}")
        return perform(values["area"], values["name"], r.get_json(silent=True) or {})

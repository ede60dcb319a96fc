"""Things that are not a Response."""

from dify_plugin import Endpoint


class Returning(Endpoint):
    def _invoke(self, r, values, settings):
        return {"none": None, "str": "text", "dict": {"a": 1}, "tuple": ("text", 200)}[values["kind"]]

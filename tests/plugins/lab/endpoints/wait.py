"""Waits; `?where=` says when: before the answer, in the middle of it, in `call_on_close`, or at import."""

import time

from dify_plugin import Endpoint
from werkzeug import Response


class Wait(Endpoint):
    def _invoke(self, r, values, settings):
        where = r.args.get("where", "before")
        if where == "before":
            time.sleep(float(values["seconds"]))

        def pieces():
            yield b"begin"
            if where == "middle":
                time.sleep(float(values["seconds"]))
            yield b"end"

        response = Response(pieces())
        if where == "close":
            response.call_on_close(lambda: time.sleep(float(values["seconds"])))
        response.call_on_close(lambda: print("closed", flush=True))
        return response

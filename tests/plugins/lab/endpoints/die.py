"""Every way to die."""

import ctypes
import os
import signal

from dify_plugin import Endpoint
from werkzeug import Response


def die(kind):
    if kind == "exit":
        os._exit(3)
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "segfault":
        ctypes.string_at(0)
    os.abort()


class Die(Endpoint):
    def _invoke(self, r, values, settings):
        kind = values["kind"]
        if not kind.startswith("late-"):
            die(kind)

        def pieces():
            yield b"first"
            die(kind.removeprefix("late-"))

        return Response(pieces())

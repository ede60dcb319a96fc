"""Leaves processes behind, or answers from a forked copy of itself."""

import os
import subprocess
import time

from dify_plugin import Endpoint
from werkzeug import Response


class Spawn(Endpoint):
    def _invoke(self, r, values, settings):
        kind = values["kind"]
        if kind == "child":
            child = subprocess.Popen(["/bin/sleep", "300"])
            return Response(str(child.pid))
        if kind == "daemon":
            read, write = os.pipe()
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.write(write, str(os.getpid()).encode())
                    time.sleep(300)
                os._exit(0)
            return Response(os.read(read, 100))
        if kind == "fork":
            os.fork()
            return Response("answered once")
        return Response("?")

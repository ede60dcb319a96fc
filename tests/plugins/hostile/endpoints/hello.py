"""Harmless: what must still work, whatever the others have done."""

import os
import tempfile

from dify_plugin import Endpoint
from werkzeug import Response


class Hello(Endpoint):
    def _invoke(self, r, values, settings):
        with tempfile.TemporaryFile() as file:
            file.write(r.get_data())
            file.seek(0)
            return Response(b"hello " + file.read(), headers={"X-Pid": str(os.getpid())})

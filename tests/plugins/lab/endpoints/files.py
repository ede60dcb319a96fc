"""Writes to the places that an endpoint may write to."""

import os
import tempfile

from dify_plugin import Endpoint
from werkzeug import Response


class Files(Endpoint):
    def _invoke(self, r, values, settings):
        folder = tempfile.mkdtemp()
        nested = os.path.join(folder, "a", "b")
        os.makedirs(nested)
        with open(os.path.join(nested, "file"), "w") as file:
            file.write("x" * 1000)
        with open(os.path.expanduser("~/home-file"), "w") as file:
            file.write("home")
        os.chmod(nested, 0)
        return Response(folder)

"""Reads the whole body and tells its size and digest."""

import hashlib

from dify_plugin import Endpoint
from werkzeug import Response


class Digest(Endpoint):
    def _invoke(self, r, values, settings):
        digest, size = hashlib.sha256(), 0
        while data := r.stream.read(65536):
            digest.update(data)
            size += len(data)
        return Response(f"{size} {digest.hexdigest()}")

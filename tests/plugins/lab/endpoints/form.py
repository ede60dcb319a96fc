"""Reads a form with files and tells their sizes and digests, and the worker's memory."""

import hashlib
import json
import resource

from dify_plugin import Endpoint
from werkzeug import Response


class Form(Endpoint):
    def _invoke(self, r, values, settings):
        files = {}
        for name, file in r.files.items(multi=True):
            digest, size = hashlib.sha256(), 0
            while data := file.stream.read(1 << 16):
                digest.update(data)
                size += len(data)
            files[name] = {"filename": file.filename, "size": size, "sha256": digest.hexdigest()}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        seen = {"form": r.form.to_dict(flat=False), "files": files, "peak": peak}
        return Response(json.dumps(seen), content_type="application/json")

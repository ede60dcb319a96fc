"""A receiver of files, of any size: they are read piece by piece."""

import hashlib
import json
from collections.abc import Iterator, Mapping

from dify_plugin import Endpoint
from werkzeug import Request, Response
from werkzeug.datastructures import FileStorage


class Upload(Endpoint):
    def _invoke(self, r: Request, values: Mapping, settings: Mapping) -> Response:
        """Tell name, size and SHA-256 of every file of a form, a line of JSON each."""
        files = [file for _, file in r.files.items(multi=True)]
        if not files:
            return Response("send files as multipart/form-data, for example: curl -F file=@photo.jpg URL\n", status=400)

        def lines() -> Iterator[str]:
            for file in files:
                yield json.dumps(describe(file)) + "\n"

        return Response(lines(), content_type="application/x-ndjson")


def describe(file: FileStorage) -> dict:
    digest, size = hashlib.sha256(), 0
    while piece := file.stream.read(65536):
        digest.update(piece)
        size += len(piece)
    return {"name": file.filename, "size": size, "sha256": digest.hexdigest()}

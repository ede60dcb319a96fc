"""Attacks while its source is imported, before there is a request; tells of it in the answer."""

import json

from dify_plugin import Endpoint
from werkzeug import Response

from attacks import descriptors, kernel, privileges, processes, run  # noqa: F401

TRIED = [
    ("privileges", "permitted_capabilities"),
    ("privileges", "no_new_privileges"),
    ("privileges", "user_namespace_by_unshare"),
    ("kernel", "keyring"),
    ("kernel", "io_uring"),
    ("kernel", "trace_a_child"),
    ("kernel", "without_filter"),
    ("processes", "read_parent_memory"),
    ("descriptors", "sockets"),
]
RESULTS = {f"{area}.{name}": json.loads(run(area, name, {})) for area, name in TRIED}


class Early(Endpoint):
    def _invoke(self, r, values, settings):
        return Response(json.dumps(RESULTS), mimetype="application/json")

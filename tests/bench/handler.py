"""The worker's own code for requests and answers, around an endpoint of the plugin, without a worker.

What our service is compared with runs the same code here: only the process, the pipes and the isolation are missing.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from protocol import Invoke
from tests.bench.workloads import PLUGIN, Workload
from worker.calls import CallClient
from worker.channel import Channel
from worker.loader import provide_sdk
from worker.request import BodySource, convert_values, make_request
from worker.response import Answer, read_response
from worker.session import make_session

__all__ = ["BytesSource", "answer_with", "load_endpoint", "make_invoke"]


class BytesSource:
    """A body that is there already.

    Args:
        data: All of it.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read_body(self, size: int) -> bytes:
        """Return the next bytes; none at the end."""
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece


def load_endpoint(workload: Workload) -> Any:
    """Import the class of an endpoint."""
    provide_sdk()
    if str(PLUGIN) not in sys.path:
        sys.path.insert(0, str(PLUGIN))
    return getattr(importlib.import_module(f"endpoints.{workload.name}"), workload.name.title())


def make_invoke(workload: Workload, content_length: int | None = None) -> Invoke:
    """Build the head of a request, as the supervisor would."""
    length = content_length or len(workload.body) or None
    return Invoke(
        invocation_id="0123456789abcdef",
        source=workload.source,
        method=workload.method,
        scheme="http",
        server_name="bench",
        server_port=80,
        root_path="/e/bench",
        path=workload.path,
        query=b"",
        http_version="1.1",
        headers=((b"host", b"bench"), (b"content-type", b"application/json")),
        remote_addr="127.0.0.1",
        values=workload.values,
        settings={},
        hook_id="bench",
        content_length=length,
        has_body=length is not None,
        debug=False,
    )


def answer_with(endpoint: Any, invoke: Invoke, body: BodySource) -> Answer:
    """Call an endpoint, as a worker does."""
    request = make_request(invoke, body)
    calls = CallClient(Channel())  # of no process: a call would fail
    session = make_session(invocation_id=invoke.invocation_id, hook_id=invoke.hook_id, calls=calls)
    result = endpoint(session)._invoke(request, convert_values(invoke.values), invoke.settings)
    return read_response(result, method=request.method, environ=request.environ)

"""How an invocation ended: one closed list, each member with the HTTP answer that it stands for.

An outcome is data, never an exception: it names what happened to the *invocation*, whoever is to blame, and it is
the value of the `outcome` label in metrics and log lines and the `code` of the problem document.

`ENDPOINT_REJECTED` is the contract's rule that a `ValueError` raised by `_invoke` is a 404 with its text as the body.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["Outcome"]

CLIENT_CLOSED_REQUEST: Final = 499
"""Never sent: the status that nginx coined for its log when the client has gone."""


class Outcome(Enum):
    """How an invocation ended.

    Attributes:
        code: Stable, dotted name, used in problem documents, metrics and logs.
        status: HTTP status of the answer, when none has been sent yet.
        title: One short sentence for people.
        retryable: Whether the same request may well succeed later; such answers carry `Retry-After`.
    """

    OK = ("ok", 200, "The endpoint answered", False)

    ENDPOINT_REJECTED = ("endpoint.rejected", 404, "The endpoint raised ValueError", False)
    ENDPOINT_RAISED = ("endpoint.raised", 500, "The endpoint raised an exception", False)
    ENDPOINT_LOAD = ("endpoint.load", 500, "The endpoint's source could not be loaded", False)
    ENDPOINT_WRONG_TYPE = ("endpoint.wrong_type", 500, "The endpoint did not return a Response", False)
    ENDPOINT_BODY = ("endpoint.body", 500, "The endpoint's response body raised an exception", False)

    WORKER_CRASHED = ("worker.crashed", 502, "The worker ended before it had answered", False)
    WORKER_PROTOCOL = ("worker.protocol", 502, "The worker broke the protocol", False)
    WORKER_INTERNAL = ("worker.internal", 502, "The worker could not be set up", True)
    LIMIT_MEMORY = ("limit.memory", 502, "The endpoint used too much memory", False)
    LIMIT_RESPONSE_BODY = ("limit.response_body", 502, "The response body is over the limit", False)
    LIMIT_LOG_OUTPUT = ("limit.log_output", 502, "The endpoint flooded its log output", False)

    TIMEOUT_WALL = ("timeout.wall", 504, "The invocation ran out of wall time", False)
    TIMEOUT_CPU = ("timeout.cpu", 504, "The endpoint ran out of processor time", False)
    TIMEOUT_FIRST_BYTE = ("timeout.first_byte", 504, "The endpoint did not begin to answer in time", False)
    TIMEOUT_IDLE = ("timeout.idle", 504, "The endpoint paused too long within its answer", False)

    LIMIT_REQUEST_BODY = ("limit.request_body", 413, "The request body is over the limit", False)
    CLIENT_TIMEOUT = ("client.timeout", 408, "The client paused too long", False)
    CLIENT_GONE = ("client.gone", CLIENT_CLOSED_REQUEST, "The client closed the connection", False)

    QUEUE_HOOK = ("queue.hook", 429, "The hook is at its concurrency limit", True)
    QUEUE_FULL = ("queue.full", 503, "All workers are busy", True)
    INTERNAL = ("executor.internal", 500, "The executor failed", False)
    SHUTDOWN = ("shutdown", 503, "The executor is shutting down", True)

    def __init__(self, code: str, status: int, title: str, retryable: bool) -> None:  # noqa: FBT001 - enum rows
        self.code = code
        self.status = status
        self.title = title
        self.retryable = retryable

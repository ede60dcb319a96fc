"""One invocation, from READY to the last hook: load, call, stream, close.

Who is to blame decides the code of an ERROR:

    load        importing the source, or its endpoint class
    not_found   `_invoke` raised ValueError; the text is the body of the 404 (a rule of the Dify SDK)
    raised      `_invoke` raised anything else, SystemExit and KeyboardInterrupt included
    wrong_type  `_invoke` returned something that is not a response HTTP allows
    body        iterating the body raised
    cancelled   nobody waits for the answer any more
    internal    we failed

Before an ERROR the response is closed, so that its hooks run although the process is killed soon after. After END they
run without anybody waiting; after them, threads and greenlets of the endpoint get the time that INVOKE names.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from werkzeug.wrappers import Request, Response

from protocol import MAX_ERROR_TEXT, End, Error, Invoke, Ready, clip
from worker.afterwards import let_finish
from worker.calls import CallClient
from worker.channel import Cancelled, Channel, NotTheWorkerError
from worker.loader import EndpointClass, LoadError
from worker.logs import flush_output
from worker.request import convert_values, make_request
from worker.response import Answer, ResponseError, read_response
from worker.session import make_session
from worker.tracebacks import describe_error, format_error

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EndpointSource", "answer", "serve"]

NOT_OURS: Final = (Cancelled, NotTheWorkerError)
"""What passes through, whoever is running."""

log = logging.getLogger("worker")


class EndpointSource(Protocol):
    """Where endpoint classes come from."""

    def load(self, source: str) -> EndpointClass:
        """Return the endpoint class of a source."""


class _FailureError(Exception):
    """The invocation failed; `code` and the message of the ERROR. Its cause is the endpoint's exception."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def serve(channel: Channel, loader: EndpointSource, sources: Sequence[str]) -> bool:
    """Import the sources, say READY, and answer one invocation, if there is one; more, where the worker is to be kept.

    Args:
        channel: Open.
        loader: Finds endpoint classes.
        sources: To be imported before READY.

    Returns:
        Whether what the endpoint has started is finished; not, when the time for it after the last answer was over.
    """
    finished = True
    try:
        for source in sources:
            _load(loader, source)
        channel.send(Ready())
        while (invoke := channel.receive()) is not None:
            answer(channel, loader, invoke)
            finished = not invoke.after_response_s or let_finish(invoke.after_response_s)
            if not invoke.keep:
                break
            flush_output()
            if not channel.renew():
                break
            finished = True  # until the next answer
    except _FailureError as failure:
        _fail(channel, failure)
    except Cancelled as cancelled:
        _fail(channel, _FailureError("cancelled", str(cancelled)))
    return finished


def _fail(channel: Channel, failure: _FailureError) -> None:
    """Report a failure; once nobody waits any more, whatever failed did so because of that."""
    code = failure.code if channel.cancel_reason is None else "cancelled"
    cause = failure.__cause__
    traceback = format_error(cause) if cause is not None else ""
    channel.send(Error(code=code, message=clip(str(failure), MAX_ERROR_TEXT), traceback=traceback))


def answer(channel: Channel, loader: EndpointSource, invoke: Invoke) -> None:
    """Call the endpoint and send what it answers."""
    endpoint = _load(loader, invoke.source)
    request = make_request(invoke, channel)
    result = _call(channel, endpoint, request, invoke)
    try:
        _send(channel, _read(result, request, f"{invoke.source}: {endpoint.__name__}._invoke"))
    finally:
        if channel.ours:
            _close(result)


def _load(loader: EndpointSource, source: str) -> EndpointClass:
    try:
        return loader.load(source)
    except LoadError as error:
        raise _FailureError("load", str(error)) from error.__cause__


def _call(channel: Channel, endpoint: EndpointClass, request: Request, invoke: Invoke) -> object:
    values = convert_values(invoke.values)
    calls = CallClient(channel)
    session = make_session(invocation_id=invoke.invocation_id, hook_id=invoke.hook_id, calls=calls)
    try:
        return endpoint(session)._invoke(request, values, invoke.settings)  # noqa: SLF001 - the contract's name
    except NOT_OURS:
        raise
    except ValueError as error:
        raise _FailureError("not_found", _text(error)) from error
    except BaseException as error:
        raise _FailureError("raised", describe_error(error)) from error


def _text(error: ValueError) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - its __str__ is the endpoint's code
        return describe_error(error)


def _read(result: object, request: Request, who: str) -> Answer:
    try:
        return read_response(result, method=request.method, environ=request.environ)
    except NOT_OURS:
        raise
    except ResponseError as error:
        raise _FailureError("wrong_type", f"{who} {error}") from None
    except BaseException as error:
        raise _FailureError("body", describe_error(error)) from error


def _send(channel: Channel, answer: Answer) -> None:
    """Send the answer. The head waits for the first piece, so that an exception before it gives a clean status.

    What is there without the endpoint having its turn goes together.
    """
    pieces = _guard(answer.body)
    first = next(pieces, None)
    channel.send(answer.head, more=True)
    if first is not None:
        channel.send_chunk(first, more=answer.whole)
        for piece in pieces:
            channel.send_chunk(piece, more=answer.whole)
    channel.send(End())


def _guard(body: Iterator[bytes]) -> Iterator[bytes]:
    """Iterate over the endpoint's body and tell its exceptions from ours."""
    while True:
        try:
            piece = next(body)
        except StopIteration:
            return
        except NOT_OURS:
            raise
        except BaseException as error:
            raise _FailureError("body", describe_error(error)) from error
        yield piece


def _close(result: Any) -> None:
    """Close the response: its iterator first, then the hooks of `call_on_close`."""
    if not isinstance(result, Response):
        if hasattr(result, "close"):
            result.close()  # a coroutine or a generator that nobody will run
        return
    try:
        result.close()
    except NOT_OURS:
        raise
    except BaseException:
        log.exception("closing the response raised")

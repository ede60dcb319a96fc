"""The application on the listener for a Dify daemon.

    GET, POST /ping                       is somebody there
    GET /v1/runner/instances?filename=    has this package been launched
    POST /v1/launch                       launch it
    POST /f/<token>/invoke?action=        call a function
    GET /f/<token>/health                 is it there

The first three ask for the key. The daemon sends none to a function, whose URL is its secret instead.

Source: langgenius/dify-plugin-daemon bdb5642a, `serverless_connector` and `serverless_runtime`.
"""

from __future__ import annotations

import asyncio
import hmac
from http import HTTPStatus
from typing import Final, final
from urllib.parse import parse_qs

import structlog

from executor.config.serverless import FUNCTION_PATH
from executor.http.answers import Answer, plain, send_answer
from executor.http.asgi import Receive, Scope, Send
from executor.serverless.answers import json_answer, refuse
from executor.serverless.bodies import find_header, read_body
from executor.serverless.errors import BadCallError
from executor.serverless.form import read_form
from executor.serverless.functions import Function
from executor.serverless.host import FunctionHost
from executor.serverless.invoking import Invoking
from executor.supervisor.client import ClientGoneError

__all__ = ["ServerlessApp"]

log = structlog.get_logger("executor.serverless")

FORM_SLACK: Final = 128 * 1024
"""What a form has besides the package."""

MAX_QUERY_FIELDS: Final = 10
CROWDED: Final = f"the query has more than {MAX_QUERY_FIELDS} fields; one is asked for, filename"
UNAUTHORIZED: Final = "unauthorized: the header Authorization must be the key of the section serverless"
NOT_FOUND: Final = "there is no such function; install the plugin again in Dify"


@final
class ServerlessApp:
    """The ASGI application.

    Args:
        host: The functions.
        invoking: Calls them.
        key: What the daemon has to say.
        package_bytes: Largest package.
        idle_time_s: Longest pause within a request, in seconds.

    Attributes:
        base: URL of the listener, as the daemon knows it; set before the first request.
        draining: Set when no new work is taken.
    """

    def __init__(
        self, host: FunctionHost, invoking: Invoking, *, key: str, package_bytes: int, idle_time_s: float
    ) -> None:
        self._host = host
        self._invoking = invoking
        self._key = key.encode()
        self._package_bytes = package_bytes
        self._idle_time_s = idle_time_s
        self.base = ""
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        try:
            if path.startswith(FUNCTION_PATH):
                await self._serve_function(scope, receive, send)
            else:
                await self._serve_connector(scope, receive, send)
        except ClientGoneError:
            return

    async def _serve_connector(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = (scope["method"], scope["path"])
        if not self._is_authorized(scope):
            log.warning("serverless.unauthorized", path=scope["path"][:200])
            document = {"error": UNAUTHORIZED} if route[1] == "/v1/runner/instances" else UNAUTHORIZED
            await send_answer(send, json_answer(document, HTTPStatus.UNAUTHORIZED))
        elif route in {("GET", "/ping"), ("POST", "/ping")}:
            await send_answer(send, json_answer("pong"))
        elif route == ("GET", "/v1/runner/instances"):
            await send_answer(send, self._list(scope))
        elif route == ("POST", "/v1/launch"):
            await self._launch(scope, receive, send)
        else:
            await send_answer(send, plain(404, "nothing is served here"))

    def _is_authorized(self, scope: Scope) -> bool:
        return hmac.compare_digest(find_header(scope, b"authorization"), self._key)

    def _list(self, scope: Scope) -> Answer:
        try:
            query = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            return json_answer({"items": [], "error": CROWDED}, HTTPStatus.BAD_REQUEST)
        names = query.get("filename", [])
        function = self._host.find(names[0]) if len(names) == 1 else None
        items = []
        if function is not None:
            items.append(
                {
                    "ID": function.name,
                    "Name": function.name,
                    "Endpoint": self._url(function),
                    "ResourceName": function.name,
                    "Status": {"State": "ACTIVE"},
                }
            )
        return json_answer({"items": items, "error": ""})

    async def _launch(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.draining:
            await send_answer(send, plain(503, "the executor is shutting down"))
            return
        try:
            body = await read_body(receive, self._package_bytes + FORM_SLACK, self._idle_time_s)
            content_type = find_header(scope, b"content-type").decode("latin-1")
            form = await asyncio.to_thread(read_form, content_type, body)
        except BadCallError as error:
            await send_answer(send, plain(error.status, error.message))
            return
        del body
        lines = self._host.launch(form, self._url)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for line in lines:
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _serve_function(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        token, _, rest = path.removeprefix(FUNCTION_PATH).partition("/")
        function = self._host.find_token(token)
        if function is None:
            await refuse(send, 404, "FunctionNotFound", NOT_FOUND)
        elif (scope["method"], rest) == ("GET", "health"):
            await send_answer(send, plain(200, "OK"))
        elif (scope["method"], rest) != ("POST", "invoke"):
            await refuse(send, 404, "NotFound", "a function has POST invoke and GET health")
        elif self.draining:
            await refuse(send, 503, "shutdown", "the executor is shutting down")
        else:
            await self._invoking.serve(function, receive, send)

    def _url(self, function: Function) -> str:
        return f"{self.base}{FUNCTION_PATH}{function.token}"

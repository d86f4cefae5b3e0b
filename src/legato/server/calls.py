"""One record per HTTP call: its id, its outcome, one line in the log, one count in the metrics.

The outermost layer, plain ASGI. It is also the last boundary: an error that nothing else
answered becomes a 500 without details, and the details go to the log.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from legato.metrics.prometheus import Endpoint, Outcome, ServerMetrics
from legato.server.errors import to_api_error
from legato.server.respond import ClientGoneError

CALL = "legato.call"  # where the record lies in the ASGI scope
GENERATING = {
    "/v1/chat/completions": Endpoint.CHAT,
    "/v1/completions": Endpoint.COMPLETIONS,
    "/v1/responses": Endpoint.RESPONSES,
}
ENDPOINTS = {**GENERATING, "/tokenize": Endpoint.TOKENS, "/detokenize": Endpoint.TOKENS}
_OPERATIONS = frozenset({"/health", "/ready", "/metrics", "/version", "/docs", "/openapi.json"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
logger = logging.getLogger("legato.calls")


@dataclass(slots=True)
class Call:
    """What is known about one HTTP call."""

    request_id: str
    endpoint: Endpoint
    status: int | None = None
    outcome: Outcome | None = None
    user: str | None = None
    output_tokens: int = 0


def endpoint_of(path: str) -> Endpoint:
    """The label of a path; every path that is not ours shares one."""
    if path in ENDPOINTS:
        return ENDPOINTS[path]
    if path in _OPERATIONS:
        return Endpoint.OPERATIONS
    return Endpoint.MODELS if path.startswith("/v1/models") else Endpoint.OTHER


def request_id_of(headers: Headers) -> str:
    """The caller's X-Request-Id when it is harmless, else a new one. Only ever sent back."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex


class CallMiddleware:
    """Keeps the record, answers what nobody answered."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the call and record how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = Call(request_id_of(Headers(scope=scope)), endpoint_of(scope["path"]))
        scope[CALL] = call
        tagged = _tagged(send, call)
        try:
            await self._app(scope, receive, tagged)
        except ClientGoneError:
            call.outcome = Outcome.CANCELLED
        except Exception as error:
            logger.exception("call %s failed", call.request_id)
            call.outcome = Outcome.ERROR
            if call.status is not None:
                raise
            await to_api_error(error).response()(scope, receive, tagged)
        finally:
            self._finish(call)

    def _finish(self, call: Call) -> None:
        outcome = call.outcome or _outcome_of(call.status)
        self._metrics.count_call(call.endpoint, outcome)
        logger.info("%s", json.dumps(_record(call, outcome)))


def _tagged(send: Send, call: Call) -> Send:
    """`send` that notes the status and adds the request id."""

    async def tagged(message: Message) -> None:
        if message["type"] == "http.response.start":
            call.status = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = call.request_id
        await send(message)

    return tagged


def _outcome_of(status: int | None) -> Outcome:
    if status is None:
        return Outcome.CANCELLED
    if status in (429, 503):
        return Outcome.OVERLOADED
    if status >= 500:
        return Outcome.ERROR
    return Outcome.REFUSED if status >= 400 else Outcome.OK


def _record(call: Call, outcome: Outcome) -> dict[str, str | int | None]:
    """The log record; JSON in ASCII, so that nothing a caller sends can forge a line."""
    return {
        "request_id": call.request_id,
        "endpoint": call.endpoint.value,
        "status": call.status,
        "outcome": outcome.value,
        "user": call.user,
        "output_tokens": call.output_tokens,
    }

"""One record per HTTP call: its id, its outcome, one line in the log, one count in the metrics.

The outermost layer, plain ASGI. It is also the last boundary: an error that nothing else
answered becomes a 500 without details, and the details go to the log.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from legato.core import NOBODY, Tenant
from legato.metrics.prometheus import Endpoint, Outcome, ServerMetrics
from legato.server.errors import to_api_error
from legato.server.log import fields
from legato.server.respond import ClientGoneError
from legato.server.tracing import CallObserver

CALL = "legato.call"  # where the record lies in the ASGI scope
COMPUTING = {
    "/v1/chat/completions": Endpoint.CHAT,
    "/v1/completions": Endpoint.COMPLETIONS,
    "/v1/responses": Endpoint.RESPONSES,
    "/v1/embeddings": Endpoint.EMBEDDINGS,
}
"""What needs the engine."""

ENDPOINTS = {**COMPUTING, "/tokenize": Endpoint.TOKENS, "/detokenize": Endpoint.TOKENS}
_OPERATIONS = frozenset({"/health", "/ready", "/metrics", "/version", "/docs", "/openapi.json"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
logger = logging.getLogger("legato.calls")


@dataclass(slots=True)
class Call:
    """What is known about one HTTP call.

    Attributes:
        traceparent: the caller's trace context, as it came.
        tenant: who is charged for it: the key.
        started_unix_ns: Unix time of its arrival; `duration_ns` is set at its end.
        prompt: its text, where the server is asked to log it.
        ttft_ns: from its arrival to the first token of all.
    """

    request_id: str
    endpoint: Endpoint
    traceparent: str | None = None
    started_unix_ns: int = field(default_factory=time.time_ns)
    duration_ns: int = 0
    status: int | None = None
    outcome: Outcome | None = None
    key: str | None = None
    tenant: Tenant = NOBODY
    user: str | None = None
    model: str | None = None
    prompt: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    finish_reasons: tuple[str, ...] = ()
    ttft_ns: int | None = None


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

    def __init__(
        self, app: ASGIApp, metrics: ServerMetrics, observers: Sequence[CallObserver] = ()
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the call and record how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        traceparent = headers.get("traceparent")
        call = Call(request_id_of(headers), endpoint_of(scope["path"]), traceparent)
        scope[CALL] = call
        start_ns = time.monotonic_ns()
        tagged = _tagged(send, call)
        try:
            await self._app(scope, receive, tagged)
        except ClientGoneError:
            call.outcome = Outcome.CANCELLED
        except Exception as error:
            logger.exception("a call failed", extra=fields(request_id=call.request_id))
            call.outcome = Outcome.ERROR
            if call.status is not None:
                raise
            await to_api_error(error).response()(scope, receive, tagged)
        finally:
            call.duration_ns = time.monotonic_ns() - start_ns
            self._finish(call)

    def _finish(self, call: Call) -> None:
        outcome = call.outcome or _outcome_of(call.status)
        self._metrics.count_call(call.endpoint, outcome)
        logger.info("call", extra=_record(call, outcome))
        for observer in self._observers:
            observer.finished(call, outcome)


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


def _record(call: Call, outcome: Outcome) -> dict[str, dict[str, Any]]:
    text = {} if call.prompt is None else {"prompt": call.prompt}
    return fields(
        request_id=call.request_id,
        endpoint=call.endpoint.value,
        status=call.status,
        outcome=outcome.value,
        key=call.key,
        user=call.user,
        prompt_tokens=call.prompt_tokens,
        cached_tokens=call.cached_tokens,
        output_tokens=call.output_tokens,
        ttft_ms=None if call.ttft_ns is None else round(call.ttft_ns / 1e6, 1),
        duration_ms=round(call.duration_ns / 1e6, 1),
        **text,
    )

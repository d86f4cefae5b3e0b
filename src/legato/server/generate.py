"""The endpoints that generate: one path for all of them, streaming and not."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from legato.metrics.prometheus import ServerMetrics
from legato.server.answer import Asked
from legato.server.answer_models import ChatCompletion, Completion
from legato.server.arrival import arrival_ns
from legato.server.body import read_json
from legato.server.calls import CALL, Call
from legato.server.chat import answer_chat
from legato.server.completions import answer_completion
from legato.server.errors import ApiError
from legato.server.generation import Generation, Piece
from legato.server.models import chosen_model, served_names
from legato.server.protocol import CallRequest, ChatRequest, CompletionRequest
from legato.server.recorder import Recorder
from legato.server.refusals import validate
from legato.server.respond import EventStream, answer_deadline, json_response, until_disconnect
from legato.server.response_models import ResponseDocument
from legato.server.response_request import ResponseRequest
from legato.server.response_shape import answer_response
from legato.server.service import Service
from legato.server.settings import ServerSettings

R = TypeVar("R", bound=CallRequest)


class Form(Protocol):
    """How an answer is written."""

    generation: Generation

    async def document(self, pieces: AsyncIterator[Piece]) -> dict[str, Any]:
        """The whole answer."""
        ...

    def stream(self) -> AsyncGenerator[bytes, None]:
        """The answer as server-sent events."""
        ...

    def failure(self, error: ApiError) -> bytes:
        """The event that ends a stream which failed."""
        ...


Answer = Callable[[Service, R, Asked], Awaitable[Form]]


@dataclass(frozen=True, slots=True)
class Responder:
    """The one path from a request to its answer."""

    service: Service
    settings: ServerSettings
    metrics: ServerMetrics

    async def respond(self, request: Request, model: type[R], answer: Answer[R]) -> Response:
        """What `answer` makes of a body that is a `model`; nothing where the client has gone."""
        asked_ns = arrival_ns(request.scope, self.service.clock)
        deadline = answer_deadline(self.settings)
        body = await read_json(request, self.settings, partial(validate, model))
        call: Call = request.scope[CALL]
        call.user = body.user
        name = chosen_model(body.model, served_names(self.service, self.settings))
        asked = Asked(model=name, arrival_ns=asked_ns, tenant=call.tenant)

        async def start() -> Response:
            return await self._answered(
                await answer(self.service, body, asked), body, call, deadline
            )

        return await until_disconnect(request.receive, start(), deadline)

    async def _answered(
        self, form: Form, body: CallRequest, call: Call, deadline: float | None
    ) -> Response:
        if self.settings.log_prompts:
            call.prompt = form.generation.prompt_text
        recorder = Recorder(form.generation, self.metrics, call)
        if body.stream:
            return await _stream(form, recorder, deadline)
        return await _document(form, recorder)


def generation_routes(
    service: Service, settings: ServerSettings, metrics: ServerMetrics
) -> APIRouter:
    """/v1/chat/completions, /v1/completions and /v1/responses."""
    router = APIRouter()
    responder = Responder(service, settings, metrics)

    @router.post("/v1/chat/completions", response_model=ChatCompletion)
    async def chat(request: Request) -> Response:
        """Continue a conversation."""
        return await responder.respond(request, ChatRequest, answer_chat)

    @router.post("/v1/completions", response_model=Completion)
    async def completions(request: Request) -> Response:
        """Continue a text, or several."""
        return await responder.respond(request, CompletionRequest, answer_completion)

    @router.post("/v1/responses", response_model=ResponseDocument)
    async def responses(request: Request) -> Response:
        """Answer an input."""
        return await responder.respond(request, ResponseRequest, answer_response)

    return router


async def _document(form: Form, recorder: Recorder) -> Response:
    with recorder:
        async with aclosing(form.generation.pieces()) as pieces:
            return json_response(await form.document(pieces))


async def _stream(form: Form, recorder: Recorder, deadline: float | None) -> Response:
    """Waits for the first event, so that what refuses the request is still plain JSON."""
    chunks = _recorded(form, recorder)
    first = await anext(chunks)
    return EventStream(first, chunks, form.failure, deadline, form.generation.delivered)


async def _recorded(form: Form, recorder: Recorder) -> AsyncGenerator[bytes, None]:
    with recorder:
        async with aclosing(form.stream()) as chunks:
            async for chunk in chunks:
                yield chunk

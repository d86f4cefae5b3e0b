"""The endpoints that generate: one path for chat and completions, streaming and not."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from legato.metrics.prometheus import ServerMetrics
from legato.server.body import read_json
from legato.server.calls import CALL
from legato.server.chat import answer_chat
from legato.server.completions import answer_completion
from legato.server.models import chosen_model, served_names
from legato.server.protocol import ChatRequest, CompletionRequest, GenerationRequest
from legato.server.recorder import Recorder
from legato.server.refusals import validate
from legato.server.respond import EventStream, json_response, until_disconnect
from legato.server.responses import ChatCompletion, Completion
from legato.server.service import Service
from legato.server.settings import ServerSettings
from legato.server.shape import Shape

R = TypeVar("R", bound=GenerationRequest)
Answer = Callable[[Service, R, str, int], Awaitable[Shape]]


def generation_routes(
    service: Service, settings: ServerSettings, metrics: ServerMetrics
) -> APIRouter:
    """/v1/chat/completions and /v1/completions."""
    router = APIRouter()
    served = served_names(service, settings)

    async def respond(request: Request, model: type[R], answer: Answer[R]) -> Response:
        arrival_ns = service.clock.now_ns()
        body = validate(model, await read_json(request, settings))
        name = chosen_model(body.model, served)
        request.scope[CALL].user = body.user

        async def start() -> Response:
            shape = await answer(service, body, name, arrival_ns)
            recorder = Recorder(shape.generation, metrics, request.scope[CALL])
            if body.stream:
                return await _stream(shape, recorder)
            return await _document(shape, recorder)

        return await until_disconnect(request.receive, start())

    @router.post("/v1/chat/completions", response_model=ChatCompletion)
    async def chat(request: Request) -> Response:
        """Continue a conversation."""
        return await respond(request, ChatRequest, answer_chat)

    @router.post("/v1/completions", response_model=Completion)
    async def completions(request: Request) -> Response:
        """Continue a text, or several."""
        return await respond(request, CompletionRequest, answer_completion)

    return router


async def _document(shape: Shape, recorder: Recorder) -> Response:
    with recorder:
        async with aclosing(shape.generation.pieces()) as pieces:
            return json_response(await shape.document(pieces))


async def _stream(shape: Shape, recorder: Recorder) -> Response:
    """Waits for the first event, so that what refuses the request is still plain JSON."""
    chunks = _recorded(shape, recorder)
    return EventStream(await anext(chunks), chunks)


async def _recorded(shape: Shape, recorder: Recorder) -> AsyncGenerator[bytes, None]:
    with recorder:
        async with aclosing(shape.stream()) as chunks:
            async for chunk in chunks:
                yield chunk

"""POST /v1/embeddings: vectors of length 1 from the model's last hidden states."""

from __future__ import annotations

import asyncio
import base64
import json
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from legato.errors import InvalidRequestError
from legato.metrics.prometheus import ServerMetrics
from legato.server.answer import Asked
from legato.server.body import read_json
from legato.server.calls import CALL
from legato.server.embedding_request import EmbeddingRequest
from legato.server.errors import bad_request
from legato.server.extension import machine_cost
from legato.server.models import chosen_model, served_names
from legato.server.other_answers import Embeddings
from legato.server.prepare import prompt_ids
from legato.server.refusals import validate
from legato.server.respond import answer_deadline, until_disconnect
from legato.server.service import Service
from legato.server.settings import ServerSettings
from legato.server.text_scores import F32


def embedding_routes(
    service: Service, settings: ServerSettings, metrics: ServerMetrics
) -> APIRouter:
    """/v1/embeddings."""
    router = APIRouter()
    served = served_names(service, settings)

    @router.post("/v1/embeddings", response_model=Embeddings)
    async def embeddings(request: Request) -> Response:
        """Vectors for texts."""
        deadline = answer_deadline(settings)
        body = await read_json(request, settings, partial(validate, EmbeddingRequest))
        name = chosen_model(body.model, served)
        call = request.scope[CALL]
        call.user, call.model = body.user, service.model

        async def answer() -> Response:
            inputs = await asyncio.to_thread(_inputs, service, body)
            call.prompt_tokens = sum(map(len, inputs))
            metrics.count_prompt(call.prompt_tokens, 0)
            asked = Asked(model=name, arrival_ns=service.clock.now_ns(), tenant=call.tenant)
            content = await _document(service, body, asked, inputs)
            return Response(content, media_type="application/json")

        return await until_disconnect(request.receive, answer(), deadline)

    return router


def _inputs(service: Service, body: EmbeddingRequest) -> list[tuple[int, ...]]:
    """The token ids of every input; one may fill the whole context, as nothing follows it."""
    inputs = [prompt_ids(service, item, "input", service.max_context + 1) for item in body.input]
    longest = max(map(len, inputs))
    if longest > service.max_context:
        raise bad_request(
            f"an input has {longest} tokens; the context holds {service.max_context}",
            "input",
            "context_length_exceeded",
        )
    return inputs


async def _document(
    service: Service, body: EmbeddingRequest, asked: Asked, inputs: list[tuple[int, ...]]
) -> str:
    """The answer as JSON. Each vector is written when it is there: all at once would take long."""
    data, machine_ns = [], 0
    for index, ids in enumerate(inputs):
        try:
            scored = await service.source.embed(ids, body.pooling, asked.tenant)
        except InvalidRequestError as error:
            raise bad_request(str(error), "input", error.code) from None
        machine_ns += scored.machine_ns
        encoded = _encoded(scored.value, body.encoding_format)
        data.append(json.dumps({"object": "embedding", "index": index, "embedding": encoded}))
    tokens = sum(map(len, inputs))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    rest: dict[str, Any] = {"object": "list", "model": asked.model, "usage": usage}
    cost = machine_cost(service.price, machine_ns)
    if cost is not None:
        rest["legato"] = {"cost": cost}
    return f'{json.dumps(rest)[:-1]}, "data": [{", ".join(data)}]}}'


def _encoded(vector: F32, encoding: str) -> str | list[float]:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers

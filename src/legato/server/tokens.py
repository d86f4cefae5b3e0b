"""POST /tokenize and /detokenize: text to token ids and back, in the form that vLLM gave them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from legato.server.body import read_json
from legato.server.models import chosen_model, served_names
from legato.server.other_answers import Detokenized, Tokenized
from legato.server.prepare import chat_ids, check_ids, turn_of
from legato.server.refusals import validate
from legato.server.respond import json_response
from legato.server.service import Service
from legato.server.settings import ServerSettings
from legato.server.token_requests import DetokenizeRequest, TokenizeRequest

T = TypeVar("T", TokenizeRequest, DetokenizeRequest)


def token_routes(service: Service, settings: ServerSettings) -> APIRouter:
    """/tokenize and /detokenize. The work is done off the event loop."""
    router = APIRouter()
    served = served_names(service, settings)

    async def body_of(request: Request, model: type[T]) -> T:
        body = await read_json(request, settings, partial(validate, model))
        chosen_model(body.model, served)
        return body

    @router.post("/tokenize", response_model=Tokenized)
    async def tokenize(request: Request) -> Response:
        """The token ids of a text or a conversation."""
        body = await body_of(request, TokenizeRequest)
        return json_response(await asyncio.to_thread(_tokenized, service, body))

    @router.post("/detokenize", response_model=Detokenized)
    async def detokenize(request: Request) -> Response:
        """The text of token ids."""
        body = await body_of(request, DetokenizeRequest)
        check_ids("tokens", body.tokens, service.tokenizer.vocab_size)
        return json_response(await asyncio.to_thread(_detokenized, service, body))

    return router


def _tokenized(service: Service, body: TokenizeRequest) -> dict[str, Any]:
    ids = _ids(service, body)
    texts = list(map(service.tokenizer.token_text, ids)) if body.return_token_strs else None
    return {
        "tokens": ids,
        "count": len(ids),
        "max_model_len": service.max_context,
        "token_strs": texts,
    }


def _ids(service: Service, body: TokenizeRequest) -> list[int]:
    if body.messages is not None:
        return list(chat_ids(service, list(map(turn_of, body.messages)), "messages"))
    special = body.add_special_tokens
    return service.tokenizer.encode(body.prompt or "", add_special_tokens=special)


def _detokenized(service: Service, body: DetokenizeRequest) -> dict[str, str]:
    return {"prompt": service.tokenizer.decode(body.tokens, skip_special_tokens=False)}

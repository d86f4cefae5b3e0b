"""The OpenAPI schema: request bodies are parsed by hand (`body.py`), so they are added here."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from legato.server.answer_models import ChatCompletionChunk, Completion
from legato.server.embedding_request import EmbeddingRequest
from legato.server.errors import ErrorBody
from legato.server.protocol import ChatRequest, CompletionRequest
from legato.server.response_models import ResponseEvent
from legato.server.response_request import ResponseRequest
from legato.server.token_requests import DetokenizeRequest, TokenizeRequest

_REF = "#/components/schemas/{model}"
BODIES: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/responses": ResponseRequest,
    "/v1/embeddings": EmbeddingRequest,
    "/tokenize": TokenizeRequest,
    "/detokenize": DetokenizeRequest,
}
CHUNKS: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatCompletionChunk,
    "/v1/completions": Completion,
    "/v1/responses": ResponseEvent,
}


def add_bodies(app: FastAPI) -> None:
    """Make `app.openapi()` describe the request bodies and the streams."""
    generate = app.openapi
    models: list[type[BaseModel]] = [*BODIES.values(), *CHUNKS.values(), ErrorBody]

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        schema = generate()
        _, definitions = models_json_schema(
            [(model, "validation") for model in models], ref_template=_REF
        )
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        components.update(definitions["$defs"])
        for path in BODIES:
            _describe(schema["paths"][path]["post"], path)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _describe(operation: dict[str, Any], path: str) -> None:
    body = {"$ref": _REF.format(model=BODIES[path].__name__)}
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": body}},
    }
    if path in CHUNKS:
        chunk = {"$ref": _REF.format(model=CHUNKS[path].__name__)}
        operation["responses"]["200"]["content"]["text/event-stream"] = {"schema": chunk}

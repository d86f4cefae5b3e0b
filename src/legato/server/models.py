"""GET /v1/models: which names are served."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from legato.server.body import quote
from legato.server.errors import ApiError
from legato.server.other_answers import Model, ModelList
from legato.server.respond import json_response
from legato.server.service import Service
from legato.server.settings import ServerSettings


def served_names(service: Service, settings: ServerSettings) -> tuple[str, ...]:
    """The model's name and its aliases."""
    return (service.model, *settings.model_aliases)


def model_routes(service: Service, settings: ServerSettings) -> APIRouter:
    """The list, and each of it."""
    router = APIRouter()
    served = served_names(service, settings)

    @router.get("/v1/models", response_model=ModelList)
    async def list_models() -> Response:
        """The models that are served."""
        cards = [model_card(service, name) for name in served]
        return json_response({"object": "list", "data": cards})

    @router.get("/v1/models/{name:path}", response_model=Model)
    async def show_model(name: str) -> Response:
        """One model."""
        return json_response(model_card(service, chosen_model(name, served)))

    return router


def model_card(service: Service, name: str) -> dict[str, Any]:
    """OpenAI's model object, with the context length under the name that clients look for."""
    return {
        "id": name,
        "object": "model",
        "created": service.created,
        "owned_by": "legato",
        "max_model_len": service.max_context,
    }


def chosen_model(name: str | None, served: tuple[str, ...]) -> str:
    """The served name that a request means; ApiError 404 for a name that is not served."""
    if name is None:
        return served[0]
    if name not in served:
        raise ApiError(
            404,
            f"the model {quote(name)} does not exist here; /v1/models lists those that do",
            param="model",
            code="model_not_found",
        )
    return name

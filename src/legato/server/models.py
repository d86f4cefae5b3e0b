"""GET /v1/models: which names are served."""

from __future__ import annotations

from typing import Any

from legato.server.body import quote
from legato.server.errors import ApiError
from legato.server.service import Service
from legato.server.settings import ServerSettings


def served_names(service: Service, settings: ServerSettings) -> tuple[str, ...]:
    """The model's name and its aliases."""
    return (service.model, *settings.model_aliases)


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

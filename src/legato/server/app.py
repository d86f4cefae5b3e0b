"""The app: routes, the layers around them, and the errors that routing makes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

import legato
from legato.errors import LegatoError
from legato.metrics.prometheus import ServerMetrics
from legato.server.calls import CallMiddleware
from legato.server.cors import CorsMiddleware
from legato.server.embeddings import embedding_routes
from legato.server.errors import ApiError, ErrorBody, to_api_error
from legato.server.generate import generation_routes
from legato.server.guard import GuardMiddleware
from legato.server.key_usage import KeyMeter
from legato.server.keys import KeyRing, given_keys, read_keys
from legato.server.lifecycle import Lifecycle
from legato.server.models import model_routes
from legato.server.openapi import add_bodies
from legato.server.operations import operation_routes
from legato.server.service import Service
from legato.server.settings import ServerSettings
from legato.server.tokens import token_routes
from legato.server.tracing import CallObserver

logger = logging.getLogger("legato.server")
DESCRIPTION = "An LLM inference server that plays every token on time. OpenAI-compatible."


def create_app(
    service: Service,
    settings: ServerSettings,
    *,
    lifecycle: Lifecycle | None = None,
    metrics: ServerMetrics | None = None,
    observers: Sequence[CallObserver] = (),
) -> FastAPI:
    """The HTTP app that serves `service`.

    Args:
        service: the model.
        settings: limits and policy.
        lifecycle: shared with whoever shuts the server down.
        metrics: shared with whoever else observes something, such as the engine's steps.
        observers: told of every call that has ended.
    """
    lifecycle = lifecycle or Lifecycle()
    metrics = metrics or ServerMetrics(lambda: service.source.status().gauges, service.price)
    app = _routed(
        generation_routes(service, settings, metrics),
        embedding_routes(service, settings, metrics),
        token_routes(service, settings),
        model_routes(service, settings),
        operation_routes(service, settings, lifecycle, metrics),
    )
    app.add_middleware(
        GuardMiddleware,
        settings=settings,
        lifecycle=lifecycle,
        keys=key_ring(settings),
        meter=KeyMeter(service.clock, metrics),
    )
    if settings.cors_origins:
        app.add_middleware(CorsMiddleware, origins=settings.cors_origins)
    app.add_middleware(CallMiddleware, metrics=metrics, observers=observers)
    add_bodies(app)
    return app


def _routed(*routers: APIRouter) -> FastAPI:
    """An app with these routes, whose errors have OpenAI's form."""
    app = FastAPI(
        title="Legato",
        version=legato.__version__,
        description=DESCRIPTION,
        redirect_slashes=False,
        redoc_url=None,
        responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}},
    )
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ApiError, _on_error)
    app.add_exception_handler(LegatoError, _on_error)
    return app


def key_ring(settings: ServerSettings) -> KeyRing:
    """All keys of the settings; LegatoError where one is no key."""
    path = settings.api_key_file
    return KeyRing([*given_keys(settings.api_keys), *(read_keys(Path(path)) if path else ())])


async def _on_error(request: Request, error: Exception) -> Response:
    failure = to_api_error(error)
    if failure.code == "internal":
        logger.error("a request failed", exc_info=error)
    return failure.response()


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What routing refuses: unknown paths and wrong methods."""
    assert isinstance(error, HTTPException)
    message = {
        404: "there is no such path; see /docs for those that are",
        405: "this path does not take this method",
    }.get(error.status_code, "the request cannot be served")
    headers = dict(error.headers or {})
    return ApiError(error.status_code, message, headers=headers).response()

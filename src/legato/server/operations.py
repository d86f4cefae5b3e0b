"""What operators ask: /health, /ready, /version, /metrics."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

import legato
from legato.metrics.prometheus import ServerMetrics
from legato.server.health import health, ready
from legato.server.lifecycle import Lifecycle
from legato.server.other_answers import Health, Ready, Version
from legato.server.respond import json_response
from legato.server.service import Service
from legato.server.settings import ServerSettings


def operation_routes(
    service: Service, settings: ServerSettings, lifecycle: Lifecycle, metrics: ServerMetrics
) -> APIRouter:
    """All of them."""
    router = APIRouter()

    @router.get("/health", responses={200: {"model": Health}, 503: {"model": Health}})
    async def show_health() -> Response:
        """Whether the engine makes progress; 503 when it has stopped or stalls."""
        return _json(*health(service.source.status(), settings))

    @router.get("/ready", responses={200: {"model": Ready}, 503: {"model": Ready}})
    async def show_ready() -> Response:
        """Whether new requests are taken."""
        return _json(*ready(service, lifecycle))

    @router.get("/version", response_model=Version)
    async def show_version() -> Response:
        """What runs here."""
        return json_response({"name": "legato", "version": legato.__version__})

    @router.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
    async def show_metrics() -> Response:
        """The Prometheus text format."""
        return Response(metrics.render(), media_type=metrics.content_type)

    return router


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")

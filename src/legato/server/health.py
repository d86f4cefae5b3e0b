"""Liveness as progress: a process that exists but does not step is not healthy."""

from __future__ import annotations

from typing import Any

from legato.server.lifecycle import Lifecycle
from legato.server.service import Service, SourceStatus
from legato.server.settings import ServerSettings


def health(status: SourceStatus, settings: ServerSettings) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of /health."""
    gauges = status.gauges
    verdict = _verdict(status, settings.stall_after)
    body = {
        "status": verdict,
        "last_step_age_s": round(gauges.last_step_age_s, 3),
        "oldest_waiting_s": round(gauges.oldest_waiting_s, 3),
        "running": gauges.running,
        "waiting": gauges.waiting,
    }
    return (200 if verdict == "ok" else 503), body


def _verdict(status: SourceStatus, stall_after: float) -> str:
    if not status.alive:
        return "stopped"
    return "stalled" if status.gauges.last_step_age_s > stall_after else "ok"


def ready(service: Service, lifecycle: Lifecycle) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of /ready."""
    is_ready = not lifecycle.draining and service.source.status().alive
    return (200 if is_ready else 503), {"ready": is_ready}

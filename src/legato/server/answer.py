"""What every answer carries besides its text: identity and usage."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from legato.core import NOBODY, Request, Tenant
from legato.server.generation import Generation
from legato.server.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is known of a call besides its body.

    Attributes:
        model: the served name that it asks.
        arrival_ns: when it came, on the service's clock.
        tenant: who asks.
    """

    model: str
    arrival_ns: int
    tenant: Tenant = NOBODY

    def started(self, service: Service, requests: Iterable[Request], pace_ns: int) -> Generation:
        """The generation of `requests`, on account of the tenant; it runs when it is read."""
        own = [
            replace(request, tenant=self.tenant, arrived_ns=self.arrival_ns) for request in requests
        ]
        return Generation(service, own, self.arrival_ns, pace_ns)


@dataclass(frozen=True, slots=True)
class Identity:
    """The fields that every chunk of an answer repeats."""

    id: str
    object: str
    created: int
    model: str
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        """The start of an answer or a chunk."""
        return {
            "id": self.id,
            "object": self.object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


def identity(prefix: str, kind: str, model: str, fingerprint: str) -> Identity:
    """A new answer's identity; the id is made here, never taken from the caller."""
    return Identity(f"{prefix}-{uuid4().hex}", kind, int(time.time()), model, fingerprint)


def usage(generation: Generation) -> dict[str, Any]:
    """OpenAI's usage object. A prompt counts once, however many samples it has."""
    output = generation.output_tokens
    return {
        "prompt_tokens": generation.prompt_tokens,
        "completion_tokens": output,
        "total_tokens": generation.prompt_tokens + output,
        "prompt_tokens_details": {"cached_tokens": generation.cached_tokens},
    }

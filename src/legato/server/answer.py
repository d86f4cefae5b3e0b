"""What every answer carries besides its text: identity, usage, timing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import legato
from legato.server.generation import Generation
from legato.server.protocol import CallRequest

FINGERPRINT = f"legato-{legato.__version__}"
NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Identity:
    """The fields that every chunk of an answer repeats."""

    id: str
    object: str
    created: int
    model: str

    def to_json(self) -> dict[str, Any]:
        """The start of an answer or a chunk."""
        return {
            "id": self.id,
            "object": self.object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
        }


def identity(prefix: str, kind: str, model: str) -> Identity:
    """A new answer's identity; the id is made here, never taken from the caller."""
    return Identity(f"{prefix}-{uuid4().hex}", kind, int(time.time()), model)


def usage(generation: Generation) -> dict[str, Any]:
    """OpenAI's usage object. A prompt counts once, however many samples it has."""
    output = sum(timeline.output_tokens for timeline in generation.timelines)
    return {
        "prompt_tokens": generation.prompt_tokens,
        "completion_tokens": output,
        "total_tokens": generation.prompt_tokens + output,
        "prompt_tokens_details": {"cached_tokens": generation.cached_tokens},
    }


def extension(generation: Generation, body: CallRequest) -> dict[str, Any]:
    """The `legato` object: what OpenAI's answer has no place for."""
    timing = _timing(generation)
    return {"timing": timing, "metadata": body.metadata} if body.metadata else {"timing": timing}


def _timing(generation: Generation) -> dict[str, float | None]:
    """Milliseconds from arrival to the first step, the first and last token, and between tokens
    (TPOT).

    Over all choices: the earliest first token, the latest last token, and
    Σ(t_last − t_0) / Σ(n − 1).
    """
    stamps = [timeline.stamps_ns for timeline in generation.timelines if timeline.stamps_ns]
    if not stamps:
        return {"queue_ms": None, "ttft_ms": None, "tpot_ms": None, "total_ms": None}
    started = generation.started_ns
    gaps = sum(len(times) - 1 for times in stamps)
    spans = sum(times[-1] - times[0] for times in stamps)
    return {
        "queue_ms": None if started is None else _ms(started - generation.arrival_ns),
        "ttft_ms": _ms(min(times[0] for times in stamps) - generation.arrival_ns),
        "tpot_ms": _ms(spans / gaps) if gaps else None,
        "total_ms": _ms(max(times[-1] for times in stamps) - generation.arrival_ns),
    }


def _ms(duration_ns: float) -> float:
    return round(duration_ns / NS_PER_MS, 3)

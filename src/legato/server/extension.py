"""The `legato` object: what OpenAI's format has no place for, asked for and answered."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from legato.core import Objectives
from legato.metrics.price import MachinePrice
from legato.server.compute_request import ComputeOptions, compute_report
from legato.server.generation import Generation
from legato.server.strict import Strict
from legato.validate import MAX_DRAFT

MAX_OBJECTIVE_MS = 3_600_000
NS_PER_MS = 1_000_000


class Slo(Strict):
    """Until when tokens are wanted; what is left out has the server's default."""

    ttft_ms: float | None = Field(
        None, gt=0, le=MAX_OBJECTIVE_MS, description="Until the first token, from the arrival."
    )
    tbt_ms: float | None = Field(
        None, gt=0, le=MAX_OBJECTIVE_MS, description="Between one token and the next."
    )

    def objectives(self) -> Objectives:
        """The same in nanoseconds."""
        return Objectives(ttft_ns=_ns(self.ttft_ms), tbt_ns=_ns(self.tbt_ms))


class LegatoOptions(Strict):
    """What a request may ask for beyond OpenAI's fields."""

    slo: Slo | None = Field(None, description="When tokens are wanted.")
    draft_tokens: int | None = Field(
        None,
        ge=0,
        le=MAX_DRAFT,
        description="Most tokens that speculation guesses in a step; 0 for none. "
        "Answers are the same whatever it is.",
    )
    pace: bool = Field(
        False,
        description="Deliver the tokens of a stream no closer together than `slo.tbt_ms`, which "
        "must be given: bursts are spread out.",
    )
    timing: bool = Field(False, description="Step and delivery times of every token.")
    compute: ComputeOptions | None = Field(
        None,
        description="As many samples as the question needs, of which the best is the answer; see "
        "below.",
    )

    @model_validator(mode="after")
    def _pace_is_known(self) -> Self:
        if self.pace and (self.slo is None or self.slo.tbt_ms is None):
            raise ValueError("pace needs slo.tbt_ms, the time between tokens")
        return self

    @property
    def pace_ns(self) -> int:
        """The least time between the tokens of a stream."""
        return (self.objectives.tbt_ns or 0) if self.pace else 0

    @property
    def objectives(self) -> Objectives:
        """When tokens are wanted."""
        return Objectives() if self.slo is None else self.slo.objectives()


def _ns(duration_ms: float | None) -> int | None:
    return None if duration_ms is None else max(1, round(duration_ms * NS_PER_MS))


def extension(
    generation: Generation, options: LegatoOptions, metadata: dict[str, str]
) -> dict[str, Any]:
    """The answer's `legato` object."""
    timing = _timing(generation)
    if options.timing:
        timing["choices"] = [_token_times(generation, i) for i in range(len(generation.samples))]
    document: dict[str, Any] = {"timing": timing, "cached_tokens": generation.cached_tokens}
    if generation.drafted:
        document["speculation"] = {
            "drafted": generation.drafted,
            "accepted": generation.accepted,
        }
    if generation.outcome is not None:
        document["compute"] = compute_report(generation.outcome)
    cost = machine_cost(generation.service.price, generation.machine_ns)
    if cost is not None:
        document["cost"] = cost
    return {**document, "metadata": metadata} if metadata else document


def machine_cost(price: MachinePrice | None, machine_ns: int) -> dict[str, float] | None:
    """Machine time, not rounded so that sums add up, and its price, where it has one."""
    if price is None:
        return None
    return {"machine_ms": machine_ns / NS_PER_MS, "price": price.machine_cost(machine_ns)}


def _timing(generation: Generation) -> dict[str, Any]:
    """Milliseconds: waiting for the first step, from there to the end of the step that gave the
    first token, from arrival to the first and last token delivered, and between tokens (TPOT).

    Over all choices: the earliest first token, the latest last token, and
    Σ(t_last − t_0) / Σ(n − 1).
    """
    stamps = [timeline.stamps_ns for timeline in generation.timelines if timeline.stamps_ns]
    if not stamps:
        names = ("queue_ms", "prefill_ms", "ttft_ms", "tpot_ms", "total_ms")
        return dict.fromkeys(names)
    started, arrival = generation.started_ns, generation.arrival_ns
    gaps = sum(len(times) - 1 for times in stamps)
    spans = sum(times[-1] - times[0] for times in stamps)
    first_step = min(sample.steps_ns[0] for sample in generation.samples if sample.steps_ns)
    return {
        "queue_ms": None if started is None else _ms(started - arrival),
        "prefill_ms": None if started is None else _ms(first_step - started),
        "ttft_ms": _ms(min(times[0] for times in stamps) - arrival),
        "tpot_ms": _ms(spans / gaps) if gaps else None,
        "total_ms": _ms(max(times[-1] for times in stamps) - arrival),
    }


def _token_times(generation: Generation, choice: int) -> dict[str, list[float]]:
    """Milliseconds from arrival to the end of each token's step, and to its delivery."""
    sample, arrival = generation.samples[choice], generation.arrival_ns
    return {
        "step_ms": [_ms(time - arrival) for time in sample.steps_ns],
        "delivery_ms": [_ms(time - arrival) for time in sample.timeline.stamps_ns],
    }


def _ms(duration_ns: float) -> float:
    return round(duration_ns / NS_PER_MS, 3)

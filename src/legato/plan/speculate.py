"""What speculation would give for a target and a draft model on some machine, by draft depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from legato.plan.hardware import Hardware
from legato.plan.steps import decode_s, kv_bytes, weights_bytes
from legato.program.program import Program


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`batch` sequences that decode, each with `context` cached tokens."""

    batch: int = 1
    context: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthPlan:
    """Speculation with a fixed number of drafted tokens.

    Attributes:
        k: drafted tokens a step.
        tokens: that a step gives a sequence, on average.
        step_ms: of drafting and verifying.
        token_ms: between two tokens of a sequence, on average.
        gain: tokens a second over those without drafts.
    """

    k: int
    tokens: float
    step_ms: float
    token_ms: float
    gain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeculationPlan:
    """A target with a draft on one machine at one acceptance.

    Attributes:
        acceptance: probability that a drafted token is right where all before it were.
        target_ms, draft_ms: a decode step of each alone.
        depths: for k = 0, 1, 2 …
        target_bytes, draft_bytes, kv_bytes: weights of each, and keys and values of both.
        memory: of the machine, bytes.
    """

    hardware: str
    acceptance: float
    target_ms: float
    draft_ms: float
    depths: tuple[DepthPlan, ...]
    target_bytes: int
    draft_bytes: int
    kv_bytes: int
    memory: float

    @property
    def best(self) -> DepthPlan:
        """The depth with most tokens a second; 0 where drafts do not pay."""
        return max(self.depths, key=lambda depth: depth.gain)

    @property
    def fits(self) -> bool:
        """Whether the machine holds weights, keys and values."""
        return self.target_bytes + self.draft_bytes + self.kv_bytes <= self.memory

    def to_json(self) -> dict[str, Any]:
        """Plain values, the best k and whether it fits among them."""
        return {**asdict(self), "best_k": self.best.k, "fits": self.fits}


def tokens_per_step(acceptance: float, k: int) -> float:
    """(1 − a^(k+1)) / (1 − a): tokens of a step that verifies k drafted ones (Leviathan et al.
    2023, arXiv 2211.17192, equation 1)."""
    return sum(acceptance**place for place in range(k + 1))


def _depth_plan(k: int, acceptance: float, step_s: float, alone_s: float) -> DepthPlan:
    """Of steps that take `step_s` with k drafted tokens, and `alone_s` without any."""
    tokens = tokens_per_step(acceptance, k)
    token_s = step_s / tokens
    return DepthPlan(
        k=k, tokens=tokens, step_ms=1e3 * step_s, token_ms=1e3 * token_s, gain=alone_s / token_s
    )


def plan_speculation(
    target: Program,
    draft: Program,
    hardware: Hardware,
    acceptance: float,
    load: Load,
    depths: Sequence[int] = range(17),
) -> SpeculationPlan:
    """Predict every depth: k steps of the draft, then one of the target over k + 1 rows.

    `acceptance` in [0, 1].
    """
    batch, context = load.batch, load.context
    alone_s = decode_s(target, hardware, batch=batch, rows=1, context=context)
    draft_s = decode_s(draft, hardware, batch=batch, rows=1, context=context)
    plans = []
    for k in depths:
        verify_s = decode_s(target, hardware, batch=batch, rows=k + 1, context=context)
        plans.append(_depth_plan(k, acceptance, k * draft_s + verify_s, alone_s))
    cached = context + max(depths) + 1
    return SpeculationPlan(
        hardware=hardware.name,
        acceptance=acceptance,
        target_ms=1e3 * alone_s,
        draft_ms=1e3 * draft_s,
        depths=tuple(plans),
        target_bytes=weights_bytes(target),
        draft_bytes=weights_bytes(draft),
        kv_bytes=batch * (kv_bytes(target, cached) + kv_bytes(draft, cached)),
        memory=hardware.memory,
    )

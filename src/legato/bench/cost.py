"""Predicted against measured step times, over a seeded mix of prefill chunks and decodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

import numpy as np

from legato.cost.correct import Correction
from legato.cost.estimate import StepCost
from legato.cost.timing import TimedStep, even_steps, typical_steps
from legato.program.ops import StepShape


@dataclass(frozen=True, slots=True, kw_only=True)
class CostErrors:
    """|predicted / measured − 1| over `steps` steps.

    Attributes:
        median, p95: of its distribution.
        bias: median of predicted / measured − 1, with its sign.
    """

    steps: int
    median: float
    p95: float
    bias: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)


def mixed_shapes(count: int, *, max_tokens: int, max_sequences: int, seed: int) -> list[StepShape]:
    """`count` steps as a busy server has them: decodes, prefill chunks, and both together.

    Decodes are up to 600 tokens deep, chunks up to `max_tokens` rows after up to 1,500 tokens.
    """
    random = Random(seed)
    return [_mixed_shape(random, max_tokens, max_sequences) for _ in range(count)]


def _mixed_shape(random: Random, max_tokens: int, max_sequences: int) -> StepShape:
    most = min(32, max_tokens, max_sequences)
    decodes = random.choice([size for size in (0, 1, 2, 4, 8, 16, 24, 32) if size <= most])
    sequences = [(1, random.randint(1, 600)) for _ in range(decodes)]
    outputs = decodes
    room = min(max_tokens, 512) - decodes
    if room > 0 and decodes < max_sequences and (not decodes or random.random() < 0.5):
        past = random.choice([0, 0, random.randint(0, 1500)])
        sequences.append((random.randint(1, room), past))
        outputs += random.random() < 0.5
    return StepShape(tuple(sequences), outputs)


def cost_errors(cost: StepCost, steps: Sequence[TimedStep]) -> CostErrors | None:
    """How far the predictions for `steps` are off; None without steps."""
    return _errors([cost.predict_ns(step.shape) / step.ns - 1 for step in steps])


def corrected_errors(cost: StepCost, steps: Sequence[TimedStep]) -> CostErrors | None:
    """Likewise with the running correction, which has seen only the steps before each."""
    correction = Correction()
    errors = []
    for step in steps:
        predicted = cost.predict_ns(step.shape)
        errors.append(correction.corrected_ns(predicted) / step.ns - 1)
        correction.observe(predicted, step.ns)
    return _errors(errors)


def compare(cost: StepCost, steps: Sequence[TimedStep]) -> dict[str, CostErrors | None]:
    """Errors over timed `steps`.

    "all steps" are as they came, equally many of each shape, "corrected" with the running
    correction; "quiet" are those that were timed while nobody else used the machine, "typical" the
    median of these for each shape.
    """
    even = even_steps(steps)
    return {
        "all steps": cost_errors(cost, even),
        "corrected": corrected_errors(cost, even),
        "quiet": cost_errors(cost, [step for step in even if step.calm]),
        "typical": cost_errors(cost, typical_steps(steps)),
    }


def _errors(relative: Sequence[float]) -> CostErrors | None:
    if not relative:
        return None
    size = np.abs(relative)
    return CostErrors(
        steps=len(relative),
        median=float(np.median(size)),
        p95=float(np.percentile(size, 95)),
        bias=float(np.median(relative)),
    )

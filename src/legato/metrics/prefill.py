"""The unloaded prefill time as a function of prompt length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PrefillProfile:
    """Unloaded prefill time of P prompt tokens: a + b·P + c·P² seconds, a, b, c ≥ 0.

    It extrapolates: monotone in P, also beyond the lengths it was fitted on.
    """

    a: float
    b: float
    c: float

    def seconds(self, prompt_tokens: int) -> float:
        """Predicted seconds from an idle engine to the first token."""
        return self.a + self.b * prompt_tokens + self.c * prompt_tokens**2


def fit_prefill(prompt_tokens: Sequence[int], seconds: Sequence[float]) -> PrefillProfile:
    """Least-squares fit with non-negative coefficients over several lengths with repeats.

    The optimum under non-negativity is the unconstrained optimum of some subset of the three
    terms, so the best feasible one of the seven subsets is the exact answer.

    Raises:
        ValueError: fewer than three distinct lengths cannot determine a quadratic.
    """
    if len(set(prompt_tokens)) < 3:
        raise ValueError("measure at least three distinct prompt lengths to fit a quadratic")
    lengths = np.asarray(prompt_tokens, dtype=np.float64)
    times = np.asarray(seconds, dtype=np.float64)
    scale = lengths.max() ** np.arange(3)
    terms = np.stack([lengths**power for power in range(3)], axis=1) / scale
    subsets = [list(chosen) for size in (1, 2, 3) for chosen in combinations(range(3), size)]
    solutions = [_solve(terms, times, subset) for subset in subsets]
    feasible = [solution for solution in solutions if (solution >= 0).all()]
    best = min(feasible, key=lambda x: float(np.sum((terms @ x - times) ** 2)))
    a, b, c = (best / scale).tolist()
    return PrefillProfile(a, b, c)


def _solve(
    terms: NDArray[np.float64], times: NDArray[np.float64], subset: list[int]
) -> NDArray[np.float64]:
    coefficients = np.zeros(3)
    coefficients[subset] = np.linalg.lstsq(terms[:, subset], times, rcond=None)[0]
    return coefficients

"""From measured steps to the coefficients of a profile: least squares without negative ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from legato.cost.estimate import ProgramWork, step_work
from legato.cost.machine import LinearPoint, MachineProfile
from legato.cost.timing import TimedStep
from legato.program.ops import StepShape

F64 = npt.NDArray[np.float64]

TOKEN_ROWS = (2, 4, 8, 9, 32, 512)
OUTPUT_ROWS = (4, 8, 32)
"""Where the time of rows may bend: registers, tiles and caches fill up. A few rows hide behind
reading the weights, and the ninth begins a second tile."""

_MAX_ROUNDS = 200


def fit_profile(
    work: ProgramWork, steps: Sequence[TimedStep], *, bandwidth: float, int8_macs: float
) -> MachineProfile:
    """The profile with the least squared relative error over `steps`.

    Raises ValueError where there are fewer steps than coefficients.
    """
    terms = np.array([_terms(work, step.shape) for step in steps])
    if len(steps) < terms.shape[1]:
        raise ValueError(f"{len(steps)} timed steps cannot determine {terms.shape[1]} coefficients")
    relative = terms / np.array([[step.ns] for step in steps])
    found = non_negative_least_squares(relative, np.ones(len(steps))).tolist()
    op_ns, weight, attention, kv, *slopes = found
    bends = len(TOKEN_ROWS)
    return MachineProfile(
        bandwidth=bandwidth,
        int8_macs=int8_macs,
        op_ns=op_ns,
        weight_ns_per_byte=weight,
        token_rows=_points(TOKEN_ROWS, slopes[:bends]),
        output_rows=_points(OUTPUT_ROWS, slopes[bends:]),
        attention_ns_per_flop=attention,
        kv_ns_per_byte=kv,
    )


def _terms(work: ProgramWork, shape: StepShape) -> list[float]:
    step = step_work(work, shape)
    return [
        work.num_ops,
        step.weight_bytes,
        step.attention_flops,
        step.kv_bytes,
        *(work.tokens.weights * rows for rows in _segments(TOKEN_ROWS, step.tokens)),
        *(work.outputs.weights * rows for rows in _segments(OUTPUT_ROWS, step.outputs)),
    ]


def _segments(bends: tuple[int, ...], rows: int) -> list[int]:
    """How many of `rows` lie before each bend and behind the one before it; the last is open."""
    starts = (0, *bends[:-1])
    ends = (*bends[:-1], max(rows, bends[-1]))
    return [max(min(rows, end) - start, 0) for start, end in zip(starts, ends, strict=True)]


def _points(bends: tuple[int, ...], slopes: Sequence[float]) -> tuple[LinearPoint, ...]:
    sizes = np.diff((0, *bends))
    times = np.cumsum(sizes * np.array(slopes)).tolist()
    return tuple(LinearPoint(rows, time) for rows, time in zip(bends, times, strict=True))


def non_negative_least_squares(terms: F64, target: F64) -> F64:
    """argmin |terms · x − target|² with x ≥ 0, for terms [m, n] and target [m].

    The active set method of Lawson and Hanson (1974), Solving Least Squares Problems, chapter 23.
    """
    scale = np.maximum(np.linalg.norm(terms, axis=0), np.finfo(np.float64).tiny)
    matrix = terms / scale
    x = np.zeros(matrix.shape[1])
    free = np.zeros(len(x), bool)
    for _ in range(_MAX_ROUNDS):
        gradient = np.where(free, -np.inf, matrix.T @ (target - matrix @ x))
        best = int(gradient.argmax())
        if gradient[best] <= 1e-10 * len(target):
            break
        free[best] = True
        x = _solve_free(matrix, target, x, free)
    result: F64 = x / scale
    return result


def _solve_free(matrix: F64, target: F64, x: F64, free: npt.NDArray[np.bool_]) -> F64:
    """Solve over the free columns; those that would become negative stop at zero, one by one."""
    while free.any():
        solution = np.zeros(len(x))
        solution[free] = np.linalg.lstsq(matrix[:, free], target, rcond=None)[0]
        negative = free & (solution <= 0)
        if not negative.any():
            return solution
        steps = x[negative] / (x[negative] - solution[negative])
        x = x + steps.min() * (solution - x)
        x[np.flatnonzero(negative)[steps.argmin()]] = 0.0
        free &= x > 0
    return np.zeros(len(x))

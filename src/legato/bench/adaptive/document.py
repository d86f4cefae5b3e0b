"""All figures of a comparison in one document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from legato.bench.adaptive.asking import Run
from legato.bench.adaptive.figures import (
    StrategyFigures,
    Time,
    calibrations,
    predicted_time,
    strategy_figures,
)
from legato.bench.adaptive.replay import (
    Answered,
    Decided,
    baseline,
    contenders,
    decide_all,
    from_outcome,
)
from legato.bench.adaptive.sharing import even_curve, share_budget, shared_curve
from legato.core import Outcome

Document = dict[str, Any]
AVERAGES = (4, 8)
"""Samples a question on average, of the shared budgets among the strategies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is compared.

    Attributes:
        max_samples: of the baseline, and the most of every other strategy.
        self_evaluation: whether the model is asked about every sample.
        live: whether strategies are also run through the engine, to measure their time.
        price_per_hour: of the machine; None leaves costs out.
    """

    max_samples: int = 16
    self_evaluation: bool = False
    live: bool = True
    price_per_hour: float | None = None


def make_document(
    answered: Sequence[Answered], drawn: Run, live: Mapping[str, Run], plan: Plan
) -> Document:
    """The document of `answered` questions, whose samples `drawn` gave, and of `live` runs, each of
    the same questions."""
    replayed = _replayed(answered, plan)
    judged = calibrations(answered, plan.max_samples)
    figures = _figures(answered, replayed, drawn, live, plan)
    return {
        "questions": len(answered),
        "max_samples": plan.max_samples,
        "interrupted": drawn.interrupted,
        "seconds": drawn.seconds + sum(run.seconds for run in live.values()),
        "strategies": [each.to_json() for each in figures],
        "live": [_live(name, run, replayed.get(name)) for name, run in live.items()],
        "even": [asdict(point) for point in even_curve(answered)],
        "shared": [asdict(point) for point in shared_curve(answered)],
        "calibration": {name: each.to_json() for name, each in judged.items()},
    }


def _replayed(answered: Sequence[Answered], plan: Plan) -> dict[str, list[Decided]]:
    """Strategy → its decisions; the baseline comes first."""
    chosen = contenders(plan.max_samples, self_evaluation=plan.self_evaluation)
    decided = {each.name: decide_all(each.strategy, answered) for each in chosen}
    for average in AVERAGES:
        if average < plan.max_samples:
            decided[f"one budget, {average} each"] = share_budget(answered, average)
    return decided


def _figures(
    answered: Sequence[Answered],
    replayed: Mapping[str, list[Decided]],
    drawn: Run,
    live: Mapping[str, Run],
    plan: Plan,
) -> list[StrategyFigures]:
    name_of_all = baseline(plan.max_samples).name
    runs = live if plan.self_evaluation else {name_of_all: drawn, **live}
    seconds = runs.get(name_of_all, drawn).seconds
    decided = {**_only_live(answered, live, replayed), **replayed}
    fixed = replayed[name_of_all]
    times = {name: predicted_time(each, fixed, seconds) for name, each in decided.items()}
    for name, run in runs.items():
        times[name] = Time(run.seconds / len(run.outcomes), measured=True)
    return [
        strategy_figures(name, answered, decided[name], fixed, times[name], plan.price_per_hour)
        for name in dict.fromkeys((*replayed, *decided))
    ]


def _only_live(
    answered: Sequence[Answered], live: Mapping[str, Run], replayed: Mapping[str, list[Decided]]
) -> dict[str, list[Decided]]:
    """Decisions of strategies that look at samples on their way, which no replay can."""
    return {
        name: [
            from_outcome(each, outcome)
            for each, outcome in zip(answered, _outcomes(run), strict=True)
        ]
        for name, run in live.items()
        if name not in replayed
    }


def _outcomes(run: Run) -> list[Outcome]:
    return [run.outcomes[number] for number in sorted(run.outcomes)]


def _live(name: str, run: Run, replayed: Sequence[Decided] | None) -> Document:
    """A run through the engine. `as_replayed`: questions at which it decided as the replay did:
    for the same answer, after as many samples, as sure; None where it is not replayed."""
    outcomes = _outcomes(run)
    return {
        "name": name,
        "seconds": run.seconds,
        "samples_begun": fmean(outcome.drawn for outcome in outcomes),
        "samples_counted": fmean(outcome.counted for outcome in outcomes),
        "samples_pruned": fmean(outcome.pruned for outcome in outcomes),
        "tokens": fmean(outcome.tokens for outcome in outcomes),
        "machine_seconds": sum(outcome.machine_ns for outcome in outcomes) / 1e9,
        "as_replayed": None if replayed is None else _equal(outcomes, replayed),
    }


def _equal(outcomes: Sequence[Outcome], replayed: Sequence[Decided]) -> int:
    return sum(
        (outcome.answer, outcome.counted, outcome.confidence)
        == (each.answer, each.samples, each.confidence)
        for outcome, each in zip(outcomes, replayed, strict=True)
    )

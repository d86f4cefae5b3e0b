"""A whole comparison: draw, replay, measure, put into one document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from legato.adaptive.settings import ComputeSettings, StrategyName
from legato.bench.adaptive.asking import Asked, Asker, Run
from legato.bench.adaptive.figures import (
    StrategyFigures,
    Time,
    calibrations,
    predicted_time,
    strategy_figures,
)
from legato.bench.adaptive.questions import QuestionSet
from legato.bench.adaptive.replay import SINGLE, Answered, Decided, contenders, decide_all
from legato.bench.adaptive.sharing import even_curve, shared_curve
from legato.errors import LegatoError

Document = dict[str, Any]
LIVE = "adaptive consistency, C = 0.95"


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


def select_questions(sets: Sequence[QuestionSet], most: int | None) -> list[Asked]:
    """At most `most` questions, one of each set in turn, so that a part is like the whole."""
    columns = [[Asked(each, question) for question in each.questions] for each in sets]
    mixed = [asked for row in zip_longest(*columns) for asked in row if asked is not None]
    return mixed[:most]


def compare_strategies(
    asker: Asker,
    asked: Sequence[Asked],
    plan: Plan,
    on_phase: Callable[[str, int], None],
    on_done: Callable[[], None],
) -> Document:
    """The document of a comparison.

    Args:
        asker: where samples come from.
        asked: questions, at least one.
        plan: what is compared.
        on_phase: called with the name of each phase and how many questions it has.
        on_done: called after each question of a phase.

    Where the asker is stopped, the document is of the questions that have all their samples.
    Raises LegatoError where there are none.
    """
    on_phase("all samples", len(asked))
    answered, drawn = asker.draw(
        asked, plan.max_samples, self_evaluation=plan.self_evaluation, on_done=on_done
    )
    if not answered:
        raise LegatoError("no question has all its samples; nothing can be compared")
    live: dict[str, Run] = {}
    if plan.live and not drawn.interrupted:
        for name, settings in _live_settings(plan.max_samples).items():
            on_phase(name, len(asked))
            live[name] = asker.ask(asked, settings, on_done)
            if live[name].interrupted:
                break
    return _document(answered, drawn, live, plan)


def _live_settings(max_samples: int) -> dict[str, ComputeSettings]:
    """Strategies that are run to be timed; the rule to read answers by comes with each set."""
    return {
        SINGLE: ComputeSettings(
            strategy=StrategyName.SELF_CONSISTENCY, max_samples=1, answer="text"
        ),
        LIVE: ComputeSettings(confidence=0.95, max_samples=max_samples, answer="text"),
    }


def _document(
    answered: Sequence[Answered], drawn: Run, live: dict[str, Run], plan: Plan
) -> Document:
    decided = {
        each.name: decide_all(each.strategy, answered)
        for each in contenders(plan.max_samples, self_evaluation=plan.self_evaluation)
    }
    finished = {name: run for name, run in live.items() if not run.interrupted}
    interrupted = drawn.interrupted or len(finished) < len(live)
    judged = calibrations(answered, plan.max_samples)
    return {
        "questions": len(answered),
        "max_samples": plan.max_samples,
        "interrupted": interrupted,
        "seconds": drawn.seconds + sum(run.seconds for run in live.values()),
        "strategies": [f.to_json() for f in _figures(answered, decided, drawn, finished, plan)],
        "live": [_live(name, run, decided.get(name)) for name, run in finished.items()],
        "even": [asdict(point) for point in even_curve(answered)],
        "shared": [asdict(point) for point in shared_curve(answered)],
        "calibration": {name: each.to_json() for name, each in judged.items()},
    }


def _figures(
    answered: Sequence[Answered],
    decided: dict[str, list[Decided]],
    drawn: Run,
    live: dict[str, Run],
    plan: Plan,
) -> list[StrategyFigures]:
    baseline = next(iter(decided.values()))
    times = {name: predicted_time(each, baseline, drawn.seconds) for name, each in decided.items()}
    runs = live if plan.self_evaluation else {next(iter(decided)): drawn, **live}
    for name, run in runs.items():
        times[name] = Time(run.seconds / max(1, len(run.outcomes)), measured=True)
    return [
        strategy_figures(name, answered, each, baseline, times[name], plan.price_per_hour)
        for name, each in decided.items()
    ]


def _live(name: str, run: Run, replayed: Sequence[Decided] | None) -> Document:
    """A run through the engine; `as_replayed`: questions at which it decided as the replay did:
    for the same answer, after as many samples, as sure."""
    outcomes = [run.outcomes[number] for number in sorted(run.outcomes)]
    equal = [
        (outcome.answer, outcome.counted, outcome.confidence)
        == (each.answer, each.samples, each.confidence)
        for outcome, each in zip(outcomes, replayed or (), strict=True)
    ]
    return {
        "name": name,
        "seconds": run.seconds,
        "samples_drawn": sum(outcome.drawn for outcome in outcomes) / len(outcomes),
        "samples_counted": sum(outcome.counted for outcome in outcomes) / len(outcomes),
        "tokens": sum(outcome.tokens for outcome in outcomes) / len(outcomes),
        "machine_seconds": sum(outcome.machine_ns for outcome in outcomes) / 1e9,
        "as_replayed": sum(equal),
    }

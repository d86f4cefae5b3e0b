"""Numbers of a comparison, with their bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from legato.adaptive.ranking import likelihood, self_evaluated
from legato.adaptive.self_consistency import SelfConsistency
from legato.adaptive.votes import count_votes, majority_probability, top_two
from legato.bench.adaptive.replay import Answered, Decided, decide
from legato.metrics.calibration import Calibration, calibrate
from legato.metrics.confidence import Interval, share_interval
from legato.metrics.paired import mean_interval, share_difference


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of_share(cls, rights: Sequence[bool]) -> Estimate:
        """The share of true ones, with exact bounds."""
        bounds = share_interval(sum(rights), len(rights))
        return cls(fmean(rights), bounds.low, bounds.high)

    @classmethod
    def of_mean(cls, values: Sequence[float]) -> Estimate:
        """The mean, with bounds by the bootstrap."""
        bounds = mean_interval(values)
        return cls(fmean(values), bounds.low, bounds.high)

    def over(self, divisor: float) -> Estimate:
        """All three divided."""
        return Estimate(self.value / divisor, self.low / divisor, self.high / divisor)


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds a question; `measured` by running the engine, else predicted from the machine time
    of the samples that the strategy used, when they were drawn for the baseline."""

    value: float
    measured: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyFigures:
    """One strategy over all questions; `samples` and `tokens` are means a question.

    Attributes:
        difference: of the accuracy, this minus the baseline's, question by question.
        saving: `samples` over the baseline's.
        cost: of a question's time at the machine's price; None without one.
        by_set: accuracy and samples in each set.
    """

    name: str
    accuracy: Estimate
    samples: Estimate
    tokens: Estimate
    difference: Estimate
    saving: Estimate
    seconds: Time
    cost: float | None
    by_set: dict[str, dict[str, float]]

    @property
    def is_as_good(self) -> bool:
        """Whether the interval of the difference of accuracies holds 0."""
        return self.difference.low <= 0 <= self.difference.high

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "is_as_good": self.is_as_good}


def strategy_figures(
    name: str,
    questions: Sequence[Answered],
    decided: Sequence[Decided],
    baseline: Sequence[Decided],
    seconds: Time,
    price_per_hour: float | None,
) -> StrategyFigures:
    """What `decided`, one for each of `questions`, come to beside those of the baseline."""
    samples = Estimate.of_mean([each.samples for each in decided])
    return StrategyFigures(
        name=name,
        accuracy=Estimate.of_share([each.right for each in decided]),
        samples=samples,
        tokens=Estimate.of_mean([each.tokens for each in decided]),
        difference=_difference(decided, baseline),
        saving=samples.over(fmean(each.samples for each in baseline)),
        seconds=seconds,
        cost=None if price_per_hour is None else seconds.value / 3600 * price_per_hour,
        by_set=_by_set(questions, decided),
    )


def predicted_time(decided: Sequence[Decided], baseline: Sequence[Decided], seconds: float) -> Time:
    """Seconds a question of `decided`, where the baseline took `seconds` for all of them."""
    whole = sum(each.machine_ns for each in baseline)
    share = sum(each.machine_ns for each in decided) / whole if whole else 0.0
    return Time(seconds * share / len(decided), measured=False)


def _difference(decided: Sequence[Decided], baseline: Sequence[Decided]) -> Estimate:
    first, second = [b.right for b in baseline], [d.right for d in decided]
    bounds: Interval = share_difference(first, second)
    return Estimate(fmean(second) - fmean(first), bounds.low, bounds.high)


def _by_set(
    questions: Sequence[Answered], decided: Sequence[Decided]
) -> dict[str, dict[str, float]]:
    members: dict[str, list[Decided]] = {}
    for answered, each in zip(questions, decided, strict=True):
        members.setdefault(answered.set, []).append(each)
    return {
        name: {
            "questions": len(group),
            "accuracy": fmean(each.right for each in group),
            "samples": fmean(each.samples for each in group),
        }
        for name, group in members.items()
    }


def calibrations(questions: Sequence[Answered], max_samples: int) -> dict[str, Calibration]:
    """How far measures of confidence can be believed: of the majority after a few and after all
    samples, and of single samples."""
    curves: dict[str, list[tuple[float, bool]]] = {}
    few = min(4, max_samples)
    for answered in questions:
        for count in dict.fromkeys((few, max_samples)):
            right = decide(SelfConsistency(count), answered).right
            for name, value in _majority_confidence(answered, count).items():
                curves.setdefault(f"{name}, {count} samples", []).append((value, right))
        first = answered.samples[0]
        right = answered.is_right(first.answer)
        curves.setdefault("mean token probability", []).append((likelihood(first), right))
        if first.self_evaluation is not None:
            curves.setdefault("self-evaluation", []).append((self_evaluated(first), right))
    return {
        name: calibrate([value for value, _ in pairs], [right for _, right in pairs])
        for name, pairs in curves.items()
    }


def _majority_confidence(answered: Answered, count: int) -> dict[str, float]:
    first, second = top_two(count_votes(answered.samples[:count]))
    return {
        "vote share": first / count,
        "Beta criterion": majority_probability(first, second) if first else 0.0,
    }

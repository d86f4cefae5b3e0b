"""What a caller may ask for, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from numbers import Real
from typing import Any, Never

from legato.adaptive.adaptive_consistency import AdaptiveConsistency
from legato.adaptive.answers import AnswerRule, parse_answer_rule
from legato.adaptive.best_of_n import BestOfN
from legato.adaptive.confidence import Confidence
from legato.adaptive.decisions import Strategy
from legato.adaptive.early_stopping import EarlyStopping
from legato.adaptive.pruning import Pruning
from legato.adaptive.self_consistency import SelfConsistency
from legato.adaptive.self_evaluation import SelfEvaluation
from legato.errors import InvalidRequestError

PARAM = "compute"
MAX_SAMPLES = 128
MAX_TOKENS = 2**31 - 1
MAX_MS = 3_600_000
MAX_QUESTION = 1024
MAX_PRICE = 1e9


class StrategyName(StrEnum):
    """The strategies by name."""

    BEST_OF_N = "best_of_n"
    SELF_CONSISTENCY = "self_consistency"
    ADAPTIVE_CONSISTENCY = "adaptive_consistency"
    EARLY_STOPPING = "early_stopping"
    CONFIDENCE = "confidence"
    SELF_EVALUATION = "self_evaluation"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeSettings:
    """How much compute a question gets.

    Attributes:
        strategy: which rule decides when to stop and which sample wins: best_of_n,
            self_consistency, adaptive_consistency, early_stopping, confidence or self_evaluation.
        max_samples: most samples to draw.
        confidence: when to stop, in 0..1: of adaptive_consistency, the probability that the
            leading answer is the majority; of confidence, the mean probability of a token; of
            self_evaluation, the probability of the model's "no". None is 0.95, 0.9 and 0.5.
        answer: how answers are read out of texts: last_number, choice, text, regex:PATTERN or
            json:PATH. Needed where answers are counted.
        window: of early_stopping: samples that must agree. None is 4.
        prune_every: tokens between two looks at samples that are weaker than others; None
            prunes none.
        prune_margin: how much weaker than the best a sample may be: of its mean
            log-probability, in nats, or for self_evaluation of the probability. None is 0.5,
            and 0.3.
        question: of self_evaluation: what the model is asked after a sample, as a turn of its
            own in a chat, else as text.
        reply: of self_evaluation: the text whose first token means that a sample is good.
        budget_tokens: most tokens to generate in all samples together.
        budget_ms: most milliseconds from the question to the answer.
        budget_price: most money for the machine time, in the currency of the machine's price.
    """

    strategy: StrategyName = StrategyName.ADAPTIVE_CONSISTENCY
    max_samples: int = 16
    confidence: float | None = None
    answer: str | None = None
    window: int | None = None
    prune_every: int | None = None
    prune_margin: float | None = None
    question: str = "If you started over, could you give a better answer? Reply Yes or No."
    reply: str = "No"
    budget_tokens: int | None = None
    budget_ms: float | None = None
    budget_price: float | None = None

    def __post_init__(self) -> None:
        _check_strategy(self)
        _check_integer(self, "max_samples", MAX_SAMPLES)
        _check_number(self, "confidence", 1, "a number from 0 to 1")
        _check_integer(self, "window", MAX_SAMPLES)
        _check_integer(self, "prune_every", MAX_TOKENS)
        _check_number(self, "prune_margin", 100, "a number from 0 to 100")
        _check_integer(self, "budget_tokens", MAX_TOKENS)
        _check_number(self, "budget_ms", MAX_MS, f"milliseconds above 0, at most {MAX_MS}", 0)
        _check_number(self, "budget_price", MAX_PRICE, "a price above 0", 0)
        _check_texts(self)
        _check_pairs(self)

    def make_strategy(self) -> Strategy:
        """The rule."""
        return _STRATEGIES[self.strategy](self)

    def make_answer_rule(self) -> AnswerRule | None:
        """How answers are read; None where they are not."""
        return None if self.answer is None else parse_answer_rule(self.answer, f"{PARAM}.answer")

    def make_pruning(self) -> Pruning | None:
        """Which samples are given up on their way; None where none are."""
        if self.prune_every is None:
            return None
        usual = 0.3 if self.strategy is StrategyName.SELF_EVALUATION else 0.5
        margin = usual if self.prune_margin is None else self.prune_margin
        return Pruning(self.prune_every, margin)


def parse_settings(given: Mapping[str, Any]) -> ComputeSettings:
    """The settings in a mapping, of JSON or the command line.

    InvalidRequestError names the field (``compute.strategy`` …) that cannot be honoured.
    """
    unknown = [name for name in given if name not in FIELDS]
    if unknown:
        _refuse(unknown[0], f"is no field of it; there are {', '.join(FIELDS)}")
    return ComputeSettings(**given)


FIELDS = tuple(field.name for field in fields(ComputeSettings))

_STRATEGIES: dict[StrategyName, Callable[[ComputeSettings], Strategy]] = {
    StrategyName.BEST_OF_N: lambda s: BestOfN(s.max_samples),
    StrategyName.SELF_CONSISTENCY: lambda s: SelfConsistency(s.max_samples),
    StrategyName.ADAPTIVE_CONSISTENCY: lambda s: AdaptiveConsistency(
        s.max_samples, _or(s.confidence, 0.95)
    ),
    StrategyName.EARLY_STOPPING: lambda s: EarlyStopping(s.max_samples, s.window or 4),
    StrategyName.CONFIDENCE: lambda s: Confidence(s.max_samples, _or(s.confidence, 0.9)),
    StrategyName.SELF_EVALUATION: lambda s: SelfEvaluation(s.max_samples, _or(s.confidence, 0.5)),
}

_ONLY_OF: dict[str, tuple[StrategyName, ...]] = {
    "confidence": (
        StrategyName.ADAPTIVE_CONSISTENCY,
        StrategyName.CONFIDENCE,
        StrategyName.SELF_EVALUATION,
    ),
    "window": (StrategyName.EARLY_STOPPING,),
}


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _check_strategy(settings: ComputeSettings) -> None:
    names = ", ".join(StrategyName)
    if not isinstance(settings.strategy, str) or settings.strategy not in [*StrategyName]:
        _refuse("strategy", f"is {_shown(settings.strategy)}, which is none; use one of {names}")
    object.__setattr__(settings, "strategy", StrategyName(settings.strategy))


def _check_integer(settings: ComputeSettings, name: str, most: int) -> None:
    value = getattr(settings, name)
    if value is None and name != "max_samples":
        return
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        _refuse(name, f"is {_shown(value)}, expected an integer from 1 to {most}")


def _check_number(
    settings: ComputeSettings, name: str, most: float, expected: str, above: float | None = None
) -> None:
    value = getattr(settings, name)
    if value is None:
        return
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= most or value == above:  # a NaN fails the comparison
        _refuse(name, f"is {_shown(value)}, expected {expected}")


def _check_texts(settings: ComputeSettings) -> None:
    for name in ("question", "reply"):
        value = getattr(settings, name)
        if not isinstance(value, str) or not value.strip() or len(value) > MAX_QUESTION:
            _refuse(name, f"should be a text of 1 to {MAX_QUESTION} characters")


def _check_pairs(settings: ComputeSettings) -> None:
    """What only makes sense together."""
    for name, strategies in _ONLY_OF.items():
        if getattr(settings, name) is not None and settings.strategy not in strategies:
            _refuse(name, f"does nothing with {settings.strategy}; leave it out")
    if settings.prune_margin is not None and settings.prune_every is None:
        _refuse("prune_margin", "needs prune_every, the tokens between two looks")
    settings.make_answer_rule()
    if settings.make_strategy().needs_answer and settings.answer is None:
        _refuse(
            "answer",
            f"is missing: {settings.strategy} counts answers and must know how to read them: "
            "last_number, choice, text, regex:PATTERN or json:PATH",
        )


def _refuse(name: str, reason: str) -> Never:
    raise InvalidRequestError(f"{PARAM}.{name} {reason}", f"{PARAM}.{name}")


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…"

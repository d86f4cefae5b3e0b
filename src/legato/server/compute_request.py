"""`legato.compute`: how much compute a question gets, asked for and reported."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from legato.adaptive.settings import (
    MAX_MS,
    MAX_PRICE,
    MAX_QUESTION,
    MAX_SAMPLES,
    MAX_TOKENS,
    ComputeSettings,
    StrategyName,
)
from legato.core import Outcome
from legato.errors import InvalidRequestError
from legato.server.errors import bad_request
from legato.server.strict import Strict

NS_PER_MS = 1_000_000
_DEFAULT = ComputeSettings(answer="text")


class ComputeOptions(Strict):
    """As many samples as a question needs; the answer is the winner's."""

    strategy: StrategyName = Field(
        _DEFAULT.strategy,
        strict=False,
        description="When to stop, and who wins. `best_of_n`: the likeliest of all. "
        "`self_consistency`: the majority of all. `adaptive_consistency`: until the leading answer "
        "is the majority, as good as surely. `early_stopping`: until a window of samples agrees. "
        "`confidence`: until a sample is likely enough. `self_evaluation`: until the model thinks "
        "that another try would not be better.",
    )
    max_samples: int = Field(
        _DEFAULT.max_samples, ge=1, le=MAX_SAMPLES, description="Most samples to draw."
    )
    confidence: float | None = Field(
        None,
        ge=0,
        le=1,
        description="When to stop: the probability that the leading answer is the majority "
        "(adaptive_consistency, 0.95), the mean probability of a token (confidence, 0.9), or that "
        "of the model's reply (self_evaluation, 0.5).",
    )
    answer: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="How answers are read: `last_number`, `choice` (or `choice:ABCD`), `text`, "
        "`regex:PATTERN` (RE2; the first group of the last match), `json:path.to.member`. Required "
        "where answers are counted. Samples without an answer have no vote; of equals the answer "
        "that came first wins.",
    )
    window: int | None = Field(
        None, ge=1, le=MAX_SAMPLES, description="Of early_stopping: samples that must agree (4)."
    )
    prune_every: int | None = Field(
        None,
        ge=1,
        le=MAX_TOKENS,
        description="Every so many tokens, give up samples that are weaker than those before them.",
    )
    prune_margin: float | None = Field(
        None,
        ge=0,
        le=100,
        description="How much weaker: in mean log-probability (0.5 nats), or for self_evaluation "
        "in probability (0.3).",
    )
    question: str = Field(
        _DEFAULT.question,
        min_length=1,
        max_length=MAX_QUESTION,
        description="Of self_evaluation: what the model is asked after a sample.",
    )
    reply: str = Field(
        _DEFAULT.reply,
        min_length=1,
        max_length=MAX_QUESTION,
        description="Of self_evaluation: the reply that means that the sample is good; the "
        "probability of its first token is the score.",
    )
    budget_tokens: int | None = Field(
        None, ge=1, le=MAX_TOKENS, description="Most tokens to generate in all samples together."
    )
    budget_ms: float | None = Field(
        None, gt=0, le=MAX_MS, description="Most time from the arrival to the decision."
    )
    budget_price: float | None = Field(
        None,
        gt=0,
        le=MAX_PRICE,
        description="Most money for the machine time; needs `--price-per-hour`.",
    )

    @model_validator(mode="after")
    def _can_be_honoured(self) -> Self:
        self.settings()
        return self

    def settings(self) -> ComputeSettings:
        """The same, checked. ApiError 400 names what does not go together."""
        try:
            return ComputeSettings(**self.model_dump())
        except InvalidRequestError as error:
            raise bad_request(f"legato.{error}", f"legato.{error.param}") from None


def compute_report(outcome: Outcome) -> dict[str, Any]:
    """The answer's `legato.compute` object."""
    return {
        "answer": outcome.answer,
        "votes": dict(outcome.votes),
        "confidence": outcome.confidence,
        "winner": outcome.winner,
        "samples_counted": outcome.counted,
        "samples_used": outcome.drawn,
        "samples_pruned": outcome.pruned,
        "samples_saved": outcome.saved,
        "tokens": outcome.tokens,
        "machine_ms": round(outcome.machine_ns / NS_PER_MS, 3),
    }

"""What a rule knows of a sample."""

from __future__ import annotations

from dataclasses import dataclass

from legato.core import FinishReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One continuation of a prompt, as far as it has come.

    Attributes:
        index: which of the request's samples; its text is a function of (seed, index).
        text: what it says.
        answer: read out of the text by the request's rule, normalised; None where there is none.
        tokens: how many were generated.
        mean_logprob: mean log-probability of its tokens, ≤ 0; None where it was not asked for.
        finish_reason: None while it runs.
        self_evaluation: probability, by the model itself, that another try would not be better;
            None where it was not asked for.
        pruned: given up before its end because others were better.
        machine_ns: machine time that it took.
    """

    index: int
    text: str = ""
    answer: str | None = None
    tokens: int = 0
    mean_logprob: float | None = None
    finish_reason: FinishReason | None = None
    self_evaluation: float | None = None
    pruned: bool = False
    machine_ns: int = 0

"""One sample as it grows: its text, its scores on the way, and what must still be asked."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from legato.adaptive.answers import AnswerRule
from legato.adaptive.pruning import Progress
from legato.adaptive.samples import Sample
from legato.core import FinishReason, Probe, TokenEvent


class Delta(Protocol):
    """What an event added to a text."""

    @property
    def text(self) -> str:
        """Characters that became certain."""
        ...

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the text ended; of a stop string the engine does not know."""
        ...


class Text(Protocol):
    """Turns the events of one sample into its text."""

    def push(self, event: TokenEvent) -> Delta:
        """What `event` added."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is looked at in every sample of a request.

    Attributes:
        rule: reads the answer; None reads none.
        every: tokens between two checkpoints; None has none.
        question: tokens that ask for a self-evaluation after a sample's own, and the token whose
            probability is the score, at its end and at checkpoints; None takes the mean
            log-probability at checkpoints.
    """

    rule: AnswerRule | None = None
    every: int | None = None
    question: tuple[tuple[int, ...], int] | None = None


class SampleProgress:
    """One sample of a request.

    Attributes:
        index: which one.
        tokens: generated so far.
        runs: whether more events of it will come.
        pruned: whether it was given up, or failed.
    """

    def __init__(self, index: int, text: Text, watch: Watch) -> None:
        self.index = index
        self.tokens = 0
        self.runs = True
        self.pruned = False
        self._text = text
        self._watch = watch
        self._pieces: list[str] = []
        self._logprob_sum: float | None = None
        self._means: list[float] = []  # at checkpoints
        self._checkpoints: list[int] = []  # tokens there
        self._evaluations: dict[int, float | None] = {}  # by tokens; None where only asked
        self._own_tokens = 0  # without the one that ended it
        self._finish_reason: FinishReason | None = None
        self._machine_ns = 0

    @property
    def is_done(self) -> bool:
        """Whether nothing about it can change any more."""
        if self.pruned:
            return True
        asks = self._watch.question is not None
        return self._finish_reason is not None and not (asks and self._evaluation is None)

    def take(self, event: TokenEvent) -> None:
        """It went on, or ended. What comes after the end of its text changes nothing."""
        if event.finish_reason is not None:
            self.runs = False
            self._machine_ns = event.machine_ns
            self.pruned = self.pruned or event.finish_reason is FinishReason.ERROR
        if self.pruned or self._finish_reason is not None:
            return
        delta = self._text.push(event)
        self._pieces.append(delta.text)
        self._finish_reason = delta.finish_reason
        if event.token_id is not None:
            self._count(event)

    def stop(self) -> bool:
        """Whether it must be ended: it runs on although its text is over or it was given up.

        It counts as ended then.
        """
        if not (self.runs and (self.pruned or self._finish_reason is not None)):
            return False
        self.runs = False
        return True

    def prune(self) -> None:
        """Give it up."""
        self.pruned = True

    def ask(self) -> list[Probe]:
        """What must be asked about it now; each once."""
        if self._watch.question is None or self.pruned:
            return []
        wanted = [*self._checkpoints, *([self._own_tokens] if self._finish_reason else [])]
        due = [tokens for tokens in dict.fromkeys(wanted) if tokens not in self._evaluations]
        self._evaluations.update(dict.fromkeys(due))
        suffix, token = self._watch.question
        return [Probe(self.index, tokens, suffix, token) for tokens in due]

    def evaluate(self, num_output: int, score: float) -> None:
        """What the model thinks of it after so many tokens."""
        self._evaluations[num_output] = score

    def progress(self) -> Progress:
        """Its scores, as far as they are known."""
        if self._watch.question is None:
            final = self._mean if self._finish_reason is not None else None
            return Progress(tuple(self._means), final)
        known = (self._evaluations.get(tokens) for tokens in self._checkpoints)
        scores = tuple(s for s in takewhile(lambda s: s is not None, known) if s is not None)
        return Progress(scores, self._evaluation)

    def sample(self) -> Sample:
        """What a rule sees of it."""
        text = "".join(self._pieces)
        rule = self._watch.rule
        return Sample(
            index=self.index,
            text=text,
            answer=None if rule is None or self.pruned else rule.extract(text),
            tokens=self.tokens,
            mean_logprob=self._mean,
            finish_reason=self._finish_reason,
            self_evaluation=self._evaluation,
            pruned=self.pruned,
            machine_ns=self._machine_ns,
        )

    @property
    def _mean(self) -> float | None:
        return None if self._logprob_sum is None else self._logprob_sum / self.tokens

    @property
    def _evaluation(self) -> float | None:
        """The one at its end."""
        ended = self._finish_reason is not None
        return self._evaluations.get(self._own_tokens) if ended else None

    def _count(self, event: TokenEvent) -> None:
        self.tokens += 1
        self._own_tokens += event.finish_reason is not FinishReason.STOP
        if event.logprobs is not None:
            self._logprob_sum = (self._logprob_sum or 0.0) + event.logprobs.chosen
        every = self._watch.every
        if every is not None and self._finish_reason is None and self.tokens % every == 0:
            self._checkpoints.append(self.tokens)
            self._means.append(self._mean or 0.0)

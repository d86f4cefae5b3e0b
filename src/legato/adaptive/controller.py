"""Follows the samples of one request: what they say, who is weak, whether it is enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from legato.adaptive.answers import AnswerRule
from legato.adaptive.budget import Budget, Spent
from legato.adaptive.decisions import Draw, Stop, Strategy
from legato.adaptive.outcome import make_outcome
from legato.adaptive.progress import SampleProgress, Text, Watch
from legato.adaptive.pruning import Pruning
from legato.adaptive.samples import Sample
from legato.adaptive.shared import SharedSamples
from legato.adaptive.votes import count_votes, top_two
from legato.adaptive.waves import wave_size
from legato.core import Outcome, Probe, TokenEvent, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveCompute:
    """A `core.Compute`: a strategy, and all that it needs of a model and a request.

    Attributes:
        strategy: when to stop, and who wins.
        new_text: gives what follows the text of one sample.
        rule: how answers are read; None where they are not.
        pruning: who is given up on its way; None prunes none.
        budget: what it may cost.
        question: tokens that ask for a self-evaluation, after a sample's own; then the token
            whose probability is the score. None where the strategy needs none.
        shared: samples that several requests divide; None lets each draw what its rule wants.
    """

    strategy: Strategy
    new_text: Callable[[], Text]
    rule: AnswerRule | None = None
    pruning: Pruning | None = None
    budget: Budget = field(default_factory=Budget)
    question: tuple[tuple[int, ...], int] | None = None
    shared: SharedSamples | None = None

    @property
    def needs_logprobs(self) -> bool:
        """Whether the log-probabilities of chosen tokens are looked at."""
        prunes_by_them = self.pruning is not None and not self.strategy.needs_self_evaluation
        return self.strategy.needs_logprobs or prunes_by_them

    @property
    def watch(self) -> Watch:
        """What is looked at in every sample."""
        every = None if self.pruning is None else self.pruning.every
        return Watch(rule=self.rule, every=every, question=self.question)

    def start(self, arrival_ns: int, max_tokens: int, free_rows: int) -> AdaptiveController:
        """A controller for one request."""
        return AdaptiveController(self, arrival_ns, max_tokens, free_rows)


@dataclass(slots=True, eq=False)
class AdaptiveController:
    """A `core.Controller`. Only times in the budget make it depend on anything but the samples:
    they count in order of index, whichever of them ended first.

    Attributes:
        compute: what was asked for.
        arrival_ns: when the request arrived.
        max_tokens: most tokens that one sample may have.
        free_rows: samples that a step computes in nearly the time of one.
    """

    compute: AdaptiveCompute
    arrival_ns: int
    max_tokens: int
    free_rows: int
    _samples: list[SampleProgress] = field(default_factory=list)
    _done: list[Sample] = field(default_factory=list)  # the leading ones that cannot change
    _wave_start_ns: int = 0
    _unanswered: int = 0  # probes

    def take(self, event: TokenEvent) -> None:
        """A sample went on, or ended."""
        self._samples[event.index].take(event)

    def probed(self, probe: Probe, logprob: float | None) -> None:
        """What the model thinks of a sample."""
        self._unanswered -= 1
        score = 0.0 if logprob is None else math.exp(min(0.0, logprob))
        self._samples[probe.sample].evaluate(probe.num_output, score)

    def turn(self, now_ns: int, machine_ns: int) -> Turn:
        """Draw, stop, ask or decide."""
        self._prune()
        decision = self._decide()
        if isinstance(decision, Outcome):
            return Turn(outcome=decision)
        spent = self._spent(now_ns, machine_ns)
        if self._samples and self.compute.budget.is_spent(spent):
            return Turn(outcome=self._best())
        ends = tuple(s.index for s in self._samples if s.stop())
        probes = tuple(probe for s in self._samples for probe in s.ask())
        self._unanswered += len(probes)
        if self._unanswered or any(s.runs for s in self._samples):
            return Turn(draw=self._top_up(decision.count), end=ends, probes=probes)
        return self._next_wave(decision.count, spent, now_ns, ends)

    def _next_wave(self, fewest: int, spent: Spent, now_ns: int, ends: tuple[int, ...]) -> Turn:
        """Nothing runs: draw what the rule wants, as far as the budget goes, or decide."""
        missing = self.compute.strategy.max_samples - len(self._samples)
        wanted = wave_size(fewest, missing, self.free_rows)
        shared = self.compute.shared
        if shared is not None:
            wanted = shared.take(self, missing)
            if not wanted and not shared.is_spent:
                return Turn(end=ends, holds=True)
        wave = self.compute.budget.wave(wanted, self.max_tokens, spent)
        if not wave.count:
            return Turn(outcome=self._best())
        self._wave_start_ns = now_ns - self.arrival_ns
        self._begin(wave.count)
        return Turn(draw=wave.count, max_tokens=wave.limit, end=ends)

    def _top_up(self, fewest: int) -> int:
        """Samples to begin while others run, because without them the rule cannot stop whatever
        those say. What is left of a budget is only known when nothing runs."""
        compute = self.compute
        undecided = len(self._samples) - len(self._done)
        if compute.shared is not None or compute.budget.is_limited or fewest <= undecided:
            return 0
        self._begin(fewest - undecided)
        return fewest - undecided

    def _begin(self, count: int) -> None:
        watch = self.compute.watch
        for _ in range(count):
            text = self.compute.new_text()
            self._samples.append(SampleProgress(len(self._samples), text, watch))

    def votes(self) -> tuple[int, int]:
        """Of the first and of the second answer so far."""
        return top_two(count_votes(self._done))

    def _decide(self) -> Outcome | Draw:
        """Judge the samples in order of index, one by one, as far as they are done."""
        strategy = self.compute.strategy
        decision = strategy.decide(self._done)
        for progress in self._samples[len(self._done) :]:
            if not progress.is_done:
                break
            self._done.append(progress.sample())
            decision = strategy.decide(self._done)
            if isinstance(decision, Stop):
                return self._outcome(decision, self._done)
        assert isinstance(decision, Draw)
        return decision

    def _best(self) -> Outcome:
        """The budget is spent: the best of the samples that ended, else the first as it is."""
        ended = [s.sample() for s in self._samples if s.is_done and not s.pruned]
        counted = ended or [self._samples[0].sample()]
        return self._outcome(self.compute.strategy.best(counted), counted)

    def _outcome(self, stop: Stop, counted: list[Sample]) -> Outcome:
        drawn = [progress.sample() for progress in self._samples]
        return make_outcome(stop, counted, drawn, self.compute.strategy.max_samples)

    def _prune(self) -> None:
        pruning = self.compute.pruning
        if pruning is None:
            return
        weak = pruning.decide([s.progress() for s in self._samples])
        for index in weak.indices:
            self._samples[index].prune()

    def _spent(self, now_ns: int, machine_ns: int) -> Spent:
        elapsed_ns = now_ns - self.arrival_ns
        return Spent(
            tokens=sum(s.tokens for s in self._samples),
            machine_ns=machine_ns,
            elapsed_ns=elapsed_ns,
            samples=len(self._samples),
            longest_tokens=max((s.tokens for s in self._samples), default=0),
            wave_ns=elapsed_ns - self._wave_start_ns,
        )

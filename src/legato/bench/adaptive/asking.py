"""Asking an engine many questions at once, each with as many samples as a strategy wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from legato.adaptive.controller import AdaptiveCompute
from legato.adaptive.decisions import Decision, Draw, Stop
from legato.adaptive.samples import Sample
from legato.adaptive.settings import ComputeSettings, StrategyName
from legato.assemble import Assembled
from legato.bench.adaptive.questions import Question, QuestionSet
from legato.bench.adaptive.replay import Answered
from legato.clock import Clock
from legato.compute import make_compute
from legato.constrain.compiler import GrammarCompiler
from legato.constrain.form import choice
from legato.core import Constraint, Outcome, Request, SamplingParams
from legato.errors import LegatoError
from legato.text.prompt import chat_prompt, text_prompt

AT_ONCE = 32
"""Questions that run side by side: enough to fill every step whatever the strategy."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and how its set asks it."""

    set: QuestionSet
    question: Question


@dataclass(slots=True)
class Run:
    """Questions asked with one strategy.

    Attributes:
        outcomes: by the number of the question; those that were decided.
        seconds: from the first question to the last decision.
        interrupted: whether it was broken off.
    """

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    seconds: float = 0.0
    interrupted: bool = False

    def extend(self, later: Run, count: int) -> None:
        """Add a run of further questions, after `count` of this one."""
        self.outcomes.update({count + number: each for number, each in later.outcomes.items()})
        self.seconds += later.seconds
        self.interrupted = self.interrupted or later.interrupted


@dataclass(slots=True)
class KeepAll:
    """A `Strategy` that draws `max_samples` and keeps them for others to decide by."""

    max_samples: int
    needs_self_evaluation: bool
    needs_answer: bool = True
    needs_logprobs: bool = True
    kept: tuple[Sample, ...] = ()

    def decide(self, samples: Sequence[Sample]) -> Decision:
        """Stop with all samples."""
        missing = self.max_samples - len(samples)
        return Draw(missing) if missing > 0 else self.best(samples)

    def best(self, samples: Sequence[Sample]) -> Stop:
        """Keep them; the first is as good as any."""
        self.kept = tuple(samples)
        return Stop(samples[0].index)


class Asker:
    """An engine, and how samples are drawn from it.

    Only runs of equal settings find prompts of each other in the prefix cache.
    """

    def __init__(
        self,
        parts: Assembled,
        clock: Clock,
        *,
        temperature: float,
        seed: int,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`stopped` is asked before each step: True ends the run."""
        self._parts = parts
        self._clock = clock
        self._temperature = temperature
        self._seed = seed
        self._stopped = stopped
        self._grammars = GrammarCompiler(parts.tokenizer)
        self._runs = 0
        self._salts: dict[str, str] = {}

    def draw(
        self,
        asked: Sequence[Asked],
        max_samples: int,
        *,
        self_evaluation: bool,
        on_done: Callable[[], None],
    ) -> tuple[list[Answered], Run]:
        """Draw `max_samples` for each question; also the run that did it, which is that of
        self-consistency with so many. Questions that were not finished are left out.

        `self_evaluation` also asks the model about every sample, which takes about as long again.
        """
        strategies = [KeepAll(max_samples, self_evaluation) for _ in asked]
        asks, votes = StrategyName.SELF_EVALUATION, StrategyName.SELF_CONSISTENCY
        name = asks if self_evaluation else votes

        def compute_of(number: int) -> AdaptiveCompute:
            settings = ComputeSettings(strategy=name, answer=asked[number].set.rule)
            return replace(self._compute(asked[number], settings), strategy=strategies[number])

        run = self._run(asked, name, compute_of, on_done)
        answered = [
            Answered(asked[number].set.set, asked[number].question, strategies[number].kept)
            for number in sorted(run.outcomes)
        ]
        return answered, run

    def ask(
        self, asked: Sequence[Asked], settings: ComputeSettings, on_done: Callable[[], None]
    ) -> Run:
        """Let the engine answer each question by the strategy of `settings`; the rule to read
        answers by is that of the question's set."""

        def compute_of(number: int) -> AdaptiveCompute:
            rule = asked[number].set.rule
            return self._compute(asked[number], replace(settings, answer=rule))

        return self._run(asked, repr(settings), compute_of, on_done)

    def _run(
        self,
        asked: Sequence[Asked],
        kind: str,
        compute_of: Callable[[int], AdaptiveCompute],
        on_done: Callable[[], None],
    ) -> Run:
        self._runs += 1
        salt = self._salts.setdefault(kind, str(len(self._salts)))
        requests = [
            replace(self._request(number, each), compute=compute_of(number), cache_salt=salt)
            for number, each in enumerate(asked)
        ]
        for request in requests:
            self._parts.engine.check(request)
        run, start_ns = Run(), self._clock.now_ns()
        try:
            for number, outcome in self._outcomes(requests):
                run.outcomes[number] = outcome
                on_done()
        finally:
            self._clear(requests)
        run.seconds = (self._clock.now_ns() - start_ns) / 1e9
        run.interrupted = len(run.outcomes) < len(requests)
        return run

    def _clear(self, requests: Sequence[Request]) -> None:
        """End what still runs of them."""
        engine = self._parts.engine
        for request in requests:
            engine.cancel(request.id)
        while engine.has_work:
            engine.step()

    def _outcomes(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Each question's number and outcome as it is decided."""
        engine, numbers = self._parts.engine, {r.id: i for i, r in enumerate(requests)}
        added, undecided = 0, len(requests)
        while undecided and not self._stopped():
            while added < len(requests) and added - (len(requests) - undecided) < AT_ONCE:
                engine.add(requests[added])
                added += 1
            for event in engine.step():
                if event.finish_reason is None:
                    continue
                if event.outcome is None:
                    raise LegatoError(f"a question was not answered: {event.error}")
                undecided -= 1
                yield numbers[event.request_id], event.outcome

    def _request(self, number: int, asked: Asked) -> Request:
        return Request(
            id=f"{self._runs}-{number}",
            prompt=self._prompt(asked),
            params=self._params(asked.set),
            constraint=self._constraint(asked),
        )

    def _params(self, asked: QuestionSet) -> SamplingParams:
        return SamplingParams(
            temperature=self._temperature,
            seed=self._seed,
            max_tokens=asked.max_tokens,
            stop=asked.stop,
        )

    def _compute(self, asked: Asked, settings: ComputeSettings) -> AdaptiveCompute:
        template = self._parts.template if asked.set.chat else None
        params, tokenizer = self._params(asked.set), self._parts.tokenizer
        return make_compute(settings, tokenizer, params, template=template, price_per_hour=None)

    def _prompt(self, asked: Asked) -> tuple[int, ...]:
        text, parts = asked.set.prompt(asked.question), self._parts
        longest = parts.engine.max_context
        if not asked.set.chat:
            return text_prompt(parts.tokenizer, text, longest).token_ids
        turn = {"role": "user", "content": text}
        return chat_prompt(parts.tokenizer, parts.template, [turn], longest).token_ids

    def _constraint(self, asked: Asked) -> Constraint | None:
        choices = asked.set.choices_of(asked.question)
        return self._grammars.compile(choice(choices)) if choices else None

"""What speculation gives: the same texts with and without it, in turn, on one machine.

Prompts come from the prefix cache in all runs that count, so that decoding is what is timed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from itertools import cycle, islice
from statistics import median
from typing import Any

from legato.bench.turns import Answers, answer_in_turns
from legato.engine import Engine, EngineStats, SpeculationFigures
from legato.errors import LegatoError
from legato.metrics.paired import mean_interval

NGRAM = 4
"""Tokens in a row that count as copied."""

TURNOVER = 2
"""At least so many conversations for each that is under way at a time."""

Conversation = list[dict[str, str]]
Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """Conversations of one kind."""

    name: str
    conversations: tuple[Conversation, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over a workload.

    Attributes:
        seconds: from the first step to the last.
        drafts: what became of drafts.
        texts: the tokens of each answer.
        copied: share of the output tokens that end an n-gram of the prompt.
        draft_steps_ns: time of the steps that had drafts.
    """

    seconds: float
    tokens: int
    steps: int
    drafts: SpeculationFigures
    texts: tuple[Tokens, ...]
    copied: float = 0.0
    draft_steps_ns: int = 0

    @property
    def acceptance(self) -> float:
        """Share of the verified tokens that were right; a token behind a wrong one is none."""
        tried = sum(self.drafts.tried)
        return sum(self.drafts.right) / tried if tried else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeculationResult:
    """One drafter on one workload at one batch size; medians over the rounds.

    Attributes:
        copied: share of the output tokens that end an n-gram of the prompt.
        batch: conversations at a time; when one is answered the next begins.
        speedup: time without speculation over time with it, of all rounds together.
        typical: the median of that ratio over the rounds.
        low, high: 95 % bounds of the ratio's mean over the rounds (geometric, bootstrap).
        theory: (1 − a^{k+1}) / (1 − a) tokens a step at the measured acceptance a and mean depth
            k of all sequence steps, over the measured ratio of step times.
        drafted_per_step: k, mean drafted tokens of a sequence in a step.
        acceptance_by_place: share of the verified tokens at each place of a draft that were right.
        predicted_gain, real_gain: tokens a second over those without drafts in the steps that had
            some: as expected when they were chosen, and as it came; both against the predicted
            time of a step without drafts.
        drafter_share: of the time, spent looking for drafts.
    """

    workload: str
    batch: int
    drafter: str
    copied: float
    speedup: float
    typical: float
    low: float
    high: float
    theory: float
    acceptance: float
    drafted_per_step: float
    tokens_per_s: float
    acceptance_by_place: tuple[float, ...]
    predicted_gain: float
    real_gain: float
    drafter_share: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def load_workloads() -> list[Workload]:
    """The workloads that come with Legato."""
    text = files("legato.bench").joinpath("data/speculate.json").read_text("utf-8")
    return [Workload(w["name"], tuple(w["conversations"])) for w in json.loads(text)]


def measure_speculation(
    engines: Mapping[str, Engine],
    workload: str,
    prompts: Sequence[Tokens],
    batch: int,
    *,
    max_tokens: int,
    rounds: int,
) -> list[SpeculationResult]:
    """Every engine on the `prompts` of a workload, `batch` at a time, in turn.

    `engines` by drafter; the first one drafts nothing. LegatoError where texts differ, or where
    all are empty.
    """
    asked = list(islice(cycle(prompts), max(TURNOVER * batch, len(prompts))))
    runs: dict[str, list[Run]] = {name: [] for name in engines}
    for number in range(rounds + 1):
        for name, run in _passes(engines, asked, batch, max_tokens).items():
            if number:  # the first pass fills the prefix cache
                runs[name].append(run)
    plain, *others = runs
    if not all(run.tokens for run in runs[plain]):
        raise LegatoError(f"the model answers nothing to {workload!r}: there is nothing to time")
    for name in others:
        if runs[name][0].texts != runs[plain][0].texts:
            raise LegatoError(f"speculation by {name} changed a text of {workload!r}")
    return [_result(workload, batch, name, runs[plain], runs[name]) for name in others]


def _passes(
    engines: Mapping[str, Engine], prompts: Sequence[Tokens], batch: int, max_tokens: int
) -> dict[str, Run]:
    """All engines through `prompts`, `batch` at a time."""
    before = {name: engine.stats() for name, engine in engines.items()}
    found = answer_in_turns(engines, prompts, max_tokens, batch)
    return {
        name: _run(found[name], prompts, before[name], engine.stats())
        for name, engine in engines.items()
    }


def _run(
    answers: Answers, prompts: Sequence[Tokens], before: EngineStats, after: EngineStats
) -> Run:
    texts = tuple(map(tuple, answers.texts))
    tokens = sum(map(len, texts))
    copied = sum(copied_tokens(p, text) for p, text in zip(prompts, texts, strict=True))
    return Run(
        answers.seconds,
        tokens,
        after.steps - before.steps,
        after.speculation.since(before.speculation),
        texts,
        copied / max(1, tokens),
        after.draft_steps_ns - before.draft_steps_ns,
    )


def copied_tokens(prompt: Sequence[int], output: Sequence[int]) -> int:
    """How many tokens of `output` end `NGRAM` tokens that stand in `prompt`, too."""
    known = set(_ngrams(prompt))
    return sum(gram in known for gram in _ngrams((*prompt[1 - NGRAM :], *output)))


def _ngrams(tokens: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return zip(*(tokens[start:] for start in range(NGRAM)), strict=False)


def _result(
    workload: str, batch: int, name: str, plain: Sequence[Run], drafting: Sequence[Run]
) -> SpeculationResult:
    pairs = [p.seconds / d.seconds for p, d in zip(plain, drafting, strict=True)]
    bounds = mean_interval([math.log(ratio) for ratio in pairs])
    run, base = drafting[0], plain[0]
    # Each step of a sequence gives one token and the accepted ones.
    depth = run.drafts.drafted / (run.tokens - run.drafts.accepted)
    step_ratio = median(d.seconds for d in drafting) / run.steps
    step_ratio /= median(p.seconds for p in plain) / base.steps
    return SpeculationResult(
        workload=workload,
        batch=batch,
        drafter=name,
        copied=run.copied,
        speedup=sum(p.seconds for p in plain) / sum(d.seconds for d in drafting),
        typical=median(pairs),
        low=math.exp(bounds.low),
        high=math.exp(bounds.high),
        theory=expected_tokens(run.acceptance, depth) / step_ratio,
        acceptance=run.acceptance,
        drafted_per_step=depth,
        tokens_per_s=median(d.tokens / d.seconds for d in drafting),
        acceptance_by_place=tuple(
            right / tried
            for right, tried in zip(run.drafts.right, run.drafts.tried, strict=True)
            if tried
        ),
        predicted_gain=run.drafts.predicted_gain,
        real_gain=median(d.drafts.real_gain(d.draft_steps_ns) for d in drafting),
        drafter_share=median(d.drafts.drafter_ns / 1e9 / d.seconds for d in drafting),
    )


def expected_tokens(rate: float, depth: float) -> float:
    """Tokens that a step of a sequence gives: (1 − a^{k+1}) / (1 − a) (Leviathan et al. 2023,
    arXiv 2211.17192, equation 1)."""
    return depth + 1 if rate >= 1 else (1 - rate ** (depth + 1)) / (1 - rate)

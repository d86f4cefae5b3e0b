"""What speculation gives: the same texts with and without it, in turn, on one machine.

Prompts come from the prefix cache in all runs that count, so that decoding is what is timed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from itertools import cycle, islice
from statistics import median
from typing import Any

from legato.core import SamplingParams
from legato.engine import EngineStats, SpeculationFigures
from legato.errors import LegatoError
from legato.llm import LLM

NGRAM = 4
"""Tokens in a row that count as copied."""

Conversation = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Workload:
    """Conversations of one kind."""

    name: str
    conversations: tuple[Conversation, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over a workload.

    Attributes:
        drafts: what became of drafts.
        copied: share of the output tokens that end an n-gram of the prompt.
        draft_steps_ns: time of the steps that had drafts.
    """

    seconds: float
    tokens: int
    steps: int
    drafts: SpeculationFigures
    texts: tuple[str, ...]
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
        speedup: time without speculation over time with it.
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
    engines: dict[str, LLM],
    workload: Workload,
    batch: int,
    *,
    max_tokens: int,
    rounds: int,
    on_run: Callable[[], None] = lambda: None,
) -> list[SpeculationResult]:
    """Every engine on `workload`, `batch` conversations at a time, in turn.

    `engines` by drafter; the first one drafts nothing. LegatoError where texts differ.
    """
    runs: dict[str, list[Run]] = {name: [] for name in engines}
    for number in range(rounds + 1):
        for name, run in _passes(engines, workload, batch, max_tokens).items():
            on_run()
            if number:  # the first pass fills the prefix cache
                runs[name].append(run)
    plain, *others = runs
    for name in others:
        if runs[name][0].texts != runs[plain][0].texts:
            raise LegatoError(f"speculation by {name} changed a text of {workload.name!r}")
    return [_result(workload, batch, name, runs[plain], runs[name]) for name in others]


@dataclass(slots=True)
class _Pass:
    """One engine on its way through a workload."""

    llm: LLM
    before: EngineStats
    seconds: float = 0.0
    tokens: int = 0
    copied: int = 0
    texts: list[str] = field(default_factory=list)

    def generate(self, conversations: Sequence[Conversation], params: SamplingParams) -> None:
        """Answer `conversations` together."""
        prompts = [self.llm.encode_chat(conversation) for conversation in conversations]
        start = time.perf_counter()
        results = self.llm.generate(prompts, params)
        self.seconds += time.perf_counter() - start
        for prompt, result in zip(prompts, results, strict=True):
            output = result.outputs[0]
            self.texts.append(output.text)
            self.tokens += len(output.token_ids)
            self.copied += copied_tokens(prompt, output.token_ids)

    def run(self) -> Run:
        """What came of it."""
        after, before = self.llm.stats(), self.before
        return Run(
            self.seconds,
            self.tokens,
            after.steps - before.steps,
            after.speculation.since(before.speculation),
            tuple(self.texts),
            self.copied / self.tokens,
            after.draft_steps_ns - before.draft_steps_ns,
        )


def _passes(
    engines: dict[str, LLM], workload: Workload, batch: int, max_tokens: int
) -> dict[str, Run]:
    """All engines through `workload`: they take turns after every `batch` conversations, so that
    a machine that drifts does so for all."""
    count = max(batch, len(workload.conversations))
    conversations = list(islice(cycle(workload.conversations), count - count % batch or batch))
    params = SamplingParams(temperature=0.0, max_tokens=max_tokens)
    passes = {name: _Pass(llm, llm.stats()) for name, llm in engines.items()}
    for first in range(0, len(conversations), batch):
        for one in passes.values():
            one.generate(conversations[first : first + batch], params)
    return {name: one.run() for name, one in passes.items()}


def copied_tokens(prompt: Sequence[int], output: Sequence[int]) -> int:
    """How many tokens of `output` end `NGRAM` tokens that stand in `prompt`, too."""
    known = set(_ngrams(prompt))
    return sum(gram in known for gram in _ngrams((*prompt[1 - NGRAM :], *output)))


def _ngrams(tokens: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return zip(*(tokens[start:] for start in range(NGRAM)), strict=False)


def _result(
    workload: Workload, batch: int, name: str, plain: Sequence[Run], drafting: Sequence[Run]
) -> SpeculationResult:
    ratios = [p.seconds / d.seconds for p, d in zip(plain, drafting, strict=True)]
    run, base = drafting[0], plain[0]
    # Each step of a sequence gives one token and the accepted ones.
    depth = run.drafts.drafted / (run.tokens - run.drafts.accepted)
    step_ratio = median(d.seconds for d in drafting) / run.steps
    step_ratio /= median(p.seconds for p in plain) / base.steps
    return SpeculationResult(
        workload=workload.name,
        batch=batch,
        drafter=name,
        copied=run.copied,
        speedup=median(ratios),
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

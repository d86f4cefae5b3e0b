"""`legato solve "question"`: as many samples as the question needs, and the answer that wins."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from legato.adaptive.settings import ComputeSettings, parse_settings
from legato.cli.arguments import DEFAULT, ModelOption, OfflineConfig, expand_dataclasses
from legato.cli.run import MaxTokensOption, SeedOption

if TYPE_CHECKING:
    from legato.llm_results import Solution

SHOWN_VOTES = 10
WIDTH = 60
MAX_TOKENS = 512  # a model that does not end would fill the context with every sample
_DEFAULT = ComputeSettings(answer="text")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeOptions:
    """How much compute the question gets.

    Attributes:
        strategy: best_of_n, self_consistency, adaptive_consistency, early_stopping, confidence or
            self_evaluation.
        answer: how answers are read: last_number, choice, text, regex:PATTERN or json:PATH.
        max_samples: most samples.
        confidence: when to stop, 0 to 1.
        window: of early_stopping: samples that must agree; 4 if none.
        prune_every: give up weak samples every so many tokens.
        budget_tokens: most tokens in all samples.
        budget_ms: most milliseconds.
        budget_price: most money; needs --price-per-hour.
    """

    strategy: str = _DEFAULT.strategy.value
    answer: str | None = None
    max_samples: int = _DEFAULT.max_samples
    confidence: float | None = None
    window: int | None = None
    prune_every: int | None = None
    budget_tokens: int | None = None
    budget_ms: float | None = None
    budget_price: float | None = None


@expand_dataclasses
def solve(
    question: Annotated[str, typer.Argument(help="The question; '-' reads it from stdin.")],
    config: OfflineConfig,
    compute: ComputeOptions,
    model: ModelOption = DEFAULT,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0.0, help="What this machine costs.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="Above 0.")] = 0.7,
    seed: SeedOption = None,
    max_tokens: MaxTokensOption = MAX_TOKENS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Answer a question with as many samples as it needs."""
    settings = parse_settings(asdict(compute))
    from legato.cli.progress import resolve_with_progress
    from legato.core import SamplingParams
    from legato.llm import LLM

    text = sys.stdin.read() if question == "-" else question
    params = SamplingParams(temperature=temperature, seed=seed, max_tokens=max_tokens)
    with LLM.from_config(resolve_with_progress(model), config) as llm:
        solution = llm.solve(text, settings, params, price_per_hour=price_per_hour)
    if as_json:
        print(json.dumps({"text": solution.text, **asdict(solution.outcome)}))
    else:
        _show(solution)


def _show(solution: Solution) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    outcome, console = solution.outcome, Console(highlight=False)
    console.print(Text(solution.text.strip()))
    if outcome.votes:
        table = Table("answer", "votes", title="Votes", title_justify="left")
        for name, votes in list(outcome.votes.items())[:SHOWN_VOTES]:
            shown = name if len(name) <= WIDTH else name[:WIDTH] + "…"
            table.add_row(Text(shown), str(votes))
        console.print(table)
    sure = "" if outcome.confidence is None else f", confidence {outcome.confidence:.3f}"
    console.print(
        f"{outcome.drawn} samples ({outcome.saved} saved, {outcome.pruned} given up), "
        f"{outcome.tokens} tokens, {outcome.machine_ns / 1e9:.2f} s{sure}"
    )

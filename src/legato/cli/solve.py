"""`legato solve "question"`: as many samples as the question needs, and the answer that wins."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from legato.adaptive.settings import ComputeSettings
from legato.cli.arguments import DEFAULT, ModelOption, expand_dataclasses
from legato.cli.run import MaxTokensOption, SeedOption
from legato.config import EngineConfig

if TYPE_CHECKING:
    from legato.llm_results import Solution

SHOWN_VOTES = 10
WIDTH = 60
MAX_TOKENS = 512  # a model that does not end would fill the context with every sample
_DEFAULT = ComputeSettings(answer="text")

StrategyOption = Annotated[
    str,
    typer.Option(
        help="best_of_n, self_consistency, adaptive_consistency, early_stopping, confidence or "
        "self_evaluation."
    ),
]
AnswerOption = Annotated[
    str | None,
    typer.Option(
        help="How answers are read: last_number, choice, text, regex:PATTERN or json:PATH."
    ),
]


@expand_dataclasses
def solve(
    question: Annotated[str, typer.Argument(help="The question; '-' reads it from stdin.")],
    config: EngineConfig,
    model: ModelOption = DEFAULT,
    strategy: StrategyOption = _DEFAULT.strategy.value,
    answer: AnswerOption = None,
    max_samples: Annotated[int, typer.Option(help="Most samples.")] = _DEFAULT.max_samples,
    confidence: Annotated[float | None, typer.Option(help="When to stop, 0 to 1.")] = None,
    window: Annotated[int | None, typer.Option(help="Of early_stopping: samples that must agree; 4 if none.")] = None,
    prune_every: Annotated[
        int | None, typer.Option(help="Give up weak samples every so many tokens.")
    ] = None,
    budget_tokens: Annotated[int | None, typer.Option(help="Most tokens in all samples.")] = None,
    budget_ms: Annotated[float | None, typer.Option(help="Most milliseconds.")] = None,
    budget_price: Annotated[
        float | None, typer.Option(help="Most money; needs --price-per-hour.")
    ] = None,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0.0, help="What this machine costs.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="Above 0.")] = 0.7,
    seed: SeedOption = None,
    max_tokens: MaxTokensOption = MAX_TOKENS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Answer a question with as many samples as it needs."""
    settings = ComputeSettings(
        strategy=strategy,  # type: ignore[arg-type]
        max_samples=max_samples,
        confidence=confidence,
        answer=answer,
        window=window,
        prune_every=prune_every,
        budget_tokens=budget_tokens,
        budget_ms=budget_ms,
        budget_price=budget_price,
    )
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

"""`legato bench speculate`: what speculation gives, by workload, drafter and batch size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from legato.cli.arguments import DEFAULT, ModelOption, OfflineConfig, expand_dataclasses

if TYPE_CHECKING:
    from legato.bench.speculate import SpeculationResult


@expand_dataclasses
def bench_speculate(
    config: OfflineConfig,
    model: ModelOption = DEFAULT,
    drafter: Annotated[
        list[str] | None, typer.Option(help="As --speculate takes it; several values.")
    ] = None,
    workload: Annotated[
        list[str] | None, typer.Option(help="Only these workloads; several values.")
    ] = None,
    batch: Annotated[
        list[int], typer.Option(min=1, help="Conversations at a time; several values.")
    ] = [1, 8],  # noqa: B006 - the parser copies it
    output: Annotated[int, typer.Option(min=2, help="Most tokens of an answer.")] = 128,
    rounds: Annotated[int, typer.Option(min=1, help="Passes that count.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON document.")] = False,
) -> None:
    """Compare answers with and without speculation.

    They are greedy and come in turn; the texts must be equal.
    """
    from legato.assemble import assemble, build_engine
    from legato.bench.speculate import load_workloads, measure_speculation
    from legato.cli.progress import resolve_with_progress
    from legato.clock import RealClock
    from legato.llm_inputs import Inputs

    known = load_workloads()
    chosen = [w for w in known if not workload or w.name in workload]
    if not chosen:
        raise typer.BadParameter(f"the workloads are {', '.join(w.name for w in known)}")
    drafters = drafter or ["suffix", "recall"]
    path = resolve_with_progress(model)
    results: list[SpeculationResult] = []
    with ExitStack() as stack:
        first = assemble(path, replace(config, speculate="off"), RealClock())
        plain = stack.enter_context(closing(first.engine))
        inputs = Inputs(first.tokenizer, first.template, plain.max_context)
        engines = {"off": plain}
        for name in drafters:  # over the same weights: copies of them are not equally fast
            own = replace(config, speculate=name)
            drafting = build_engine(first.model, own, RealClock(), first.tokenizer, plain)
            engines[name] = stack.enter_context(closing(drafting))
        for size in batch:
            for one in chosen:
                prompts = [inputs.conversation(c).token_ids for c in one.conversations]
                results += measure_speculation(
                    engines, one.name, prompts, size, max_tokens=output, rounds=rounds
                )
                print_results(results[-len(drafters) :])
    if as_json:
        print(json.dumps({"model": path.name, "results": [r.to_json() for r in results]}))


def print_results(results: Sequence[SpeculationResult]) -> None:
    """A line for each drafter."""
    for r in results:
        print(
            f"{r.workload:16} ({r.copied:4.0%} copied) batch {r.batch:<3} {r.drafter:12}"
            f" {r.speedup:5.2f} x ({r.low:.2f} to {r.high:.2f})  (theory {r.theory:4.2f} x)"
            f"  {r.tokens_per_s:5.0f} tok/s"
            f"  acceptance {r.acceptance:4.0%}  drafted a step {r.drafted_per_step:4.1f}"
            f"  where drafted {r.real_gain:4.2f} x ({r.predicted_gain:4.2f} x predicted)"
            f"  drafter {r.drafter_share:4.1%}",
            flush=True,
        )

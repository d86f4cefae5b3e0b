"""`legato bench engine`: prefill and decode rates in process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from legato.cli.arguments import DEFAULT, ModelOption, OfflineConfig, expand_dataclasses

if TYPE_CHECKING:
    from legato.bench.engine import EngineFigures


@expand_dataclasses
def bench_engine(
    config: OfflineConfig,
    model: ModelOption = DEFAULT,
    prompt: Annotated[int, typer.Option(min=1, help="Prompt length in tokens.")] = 512,
    output: Annotated[int, typer.Option(min=1, help="Decode steps to time.")] = 64,
    concurrency: Annotated[
        list[int], typer.Option(min=1, help="How many sequences at once; several values.")
    ] = [1, 8, 32],  # noqa: B006 - the parser copies it
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON document.")] = False,
) -> None:
    """Measure prefill and decode rates in process.

    Random token ids, no prefix cache, no HTTP.
    """
    from legato.assemble import build_engine
    from legato.bench.engine import measure_engine, random_prompts
    from legato.bench.machine import measure_machine
    from legato.cli.progress import resolve_with_progress
    from legato.clock import RealClock
    from legato.models.load import load_model

    chosen = replace(config, prefix_cache=False, max_sequences=max(concurrency))
    clock = RealClock()
    loaded = load_model(resolve_with_progress(model))
    machine = measure_machine(config.num_threads)
    engine = build_engine(loaded, chosen, clock)
    prompts = random_prompts(max(concurrency), prompt, loaded.arch.vocab_size)
    measure_engine(engine, clock, prompts[:1], output=4)  # touches every page once
    figures = [measure_engine(engine, clock, prompts[:count], output) for count in concurrency]
    print_figures(figures)
    if as_json:
        document = {
            "model": loaded.name,
            "config": asdict(chosen),
            "machine": machine.to_json(),
            "results": [figure.to_json() for figure in figures],
        }
        print(json.dumps(document))


def print_figures(figures: Sequence[EngineFigures]) -> None:
    """A table for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table("sequences", "prefill tok/s", "decode tok/s", "ms a step")
    for f in figures:
        table.add_row(
            str(f.concurrency),
            f"{f.prefill_tokens_per_s:.0f}",
            f"{f.decode_tokens_per_s:.0f}",
            f"{f.decode_step_s * 1e3:.2f}",
        )
    Console().print(table)

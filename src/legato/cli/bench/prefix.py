"""`legato bench prefix`: what a shared prefix saves."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Annotated

import typer

from legato.cli.arguments import DEFAULT, ModelOption, OfflineConfig, expand_dataclasses


@expand_dataclasses
def bench_prefix(
    config: OfflineConfig,
    model: ModelOption = DEFAULT,
    shared: Annotated[int, typer.Option(min=1, help="Tokens of the shared prefix.")] = 1500,
    own: Annotated[int, typer.Option(min=1, help="Tokens behind it.")] = 16,
    repeats: Annotated[int, typer.Option(min=1, help="How many prefixes.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON document.")] = False,
) -> None:
    """Measure what a shared prefix in the cache saves.

    Time to first token with and without it, in process.
    """
    from legato.assemble import build_engine
    from legato.bench.prefix import measure_prefix
    from legato.cli.progress import resolve_with_progress
    from legato.clock import RealClock
    from legato.models.load import load_model

    chosen = replace(config, prefix_cache=True)
    clock = RealClock()
    loaded = load_model(resolve_with_progress(model))
    engine = build_engine(loaded, chosen, clock)
    figures = measure_prefix(engine, clock, shared=shared, own=own, repeats=repeats)
    engine.close()
    cold, warm = figures.cold_ttft_s * 1e3, figures.warm_ttft_s * 1e3
    print(f"first token of a prompt with a shared prefix of {shared} tokens: {cold:.1f} ms")
    print(f"with the prefix cached: {warm:.1f} ms, {figures.times_shorter:.1f} times shorter")
    if as_json:
        document = {"model": loaded.name, "config": asdict(chosen), **figures.to_json()}
        print(json.dumps(document))

"""`legato bench cost`: predicted against measured step times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from legato.cli.arguments import DEFAULT, ModelOption, OfflineConfig, expand_dataclasses

if TYPE_CHECKING:
    from legato.bench.cost import CostErrors


@expand_dataclasses
def bench_cost(
    config: OfflineConfig,
    model: ModelOption = DEFAULT,
    steps: Annotated[int, typer.Option(min=1, help="How many shapes of steps.")] = 60,
    seconds: Annotated[float, typer.Option(min=0.0, help="Time spent on them.")] = 25.0,
    seed: Annotated[int, typer.Option(help="Of the mixed load.")] = 5,
    kept: Annotated[
        bool, typer.Option("--kept", help="Predict with the profile that is kept.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON document.")] = False,
) -> None:
    """Compare predicted with measured step times.

    The steps that a profile is fitted to are timed in the same rounds as those that it predicts;
    with --kept, the profile is an older one, and what the machine does differently now counts.
    """
    from legato.bench.cost import compare, mixed_shapes
    from legato.cli.calibrate import calibrate_with_progress, kept_profile, open_driver
    from legato.cost.estimate import StepCost

    shapes = mixed_shapes(
        steps, max_tokens=config.max_batch_tokens, max_sequences=config.max_sequences, seed=seed
    )
    with open_driver(model, config) as (driver, backend_name):
        old = kept_profile(driver.program, backend_name, config) if kept else None
        measured = calibrate_with_progress(driver, config, seconds=seconds, beside=shapes)
        cost = StepCost(driver.program, old or measured.profile)
    figures = compare(cost, measured.beside)
    print_cost_errors(figures)
    if as_json:
        document = {name: errors and errors.to_json() for name, errors in figures.items()}
        print(json.dumps({"model": model, "config": asdict(config), "errors": document}))


def print_cost_errors(figures: Mapping[str, CostErrors | None]) -> None:
    """A table for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table("predicted against measured", "steps", "median", "p95", "bias")
    for name, errors in figures.items():
        if errors is not None:
            shares = (f"{share:.1%}" for share in (errors.median, errors.p95))
            table.add_row(name, str(errors.steps), *shares, f"{errors.bias:+.1%}")
    Console().print(table)

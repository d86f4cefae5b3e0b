"""The fixed cost of a decode step: its time less that of the kernels, and where it goes.

    python benchmarks/overhead.py --model smollm2-135m-instruct

For every batch size, medians over the steps in microseconds: the whole step; the Python around the
backend (schedule, arrays, commit); the native runtime around the kernels (reading the arrays,
waking the threads, planning the step); the kernels. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np

from legato.assemble import build_model_program
from legato.backends.base import StepInput, StepOutput
from legato.backends.native import NativeBackend
from legato.bench.engine import add_all, random_prompts
from legato.bench.machine import measure_machine
from legato.clock import RealClock
from legato.config import EngineConfig
from legato.cost.machine import DEFAULT_PROFILE
from legato.engine import Engine
from legato.models.catalogue import DEFAULT_MODEL
from legato.models.hub import resolve_model
from legato.models.load import load_model

WARM_UP_STEPS = 30
PROMPT = 32


class TimedBackend:
    """A native backend that notes how long each `run` took, and the kernels in it."""

    def __init__(self, inner: NativeBackend) -> None:
        self.inner = inner
        self.run_ns: list[int] = []
        self.kernels_ns: list[int] = []
        self.measuring_ns = 0  # in `run`, measuring included

    @property
    def name(self) -> str:
        """The inner backend's."""
        return self.inner.name

    def allocate_kv(self, num_blocks: int) -> None:
        """As the inner backend."""
        self.inner.allocate_kv(num_blocks)

    def copy_blocks(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """As the inner backend."""
        self.inner.copy_blocks(sources, targets)

    def run(self, step: StepInput) -> StepOutput:
        """As the inner backend, timed without the handling of the profile."""
        begin = perf_counter_ns()
        self.inner.start_profile()
        start = perf_counter_ns()
        output = self.inner.run(step)
        self.run_ns.append(perf_counter_ns() - start)
        _, *instructions = self.inner.profile()  # the first entry is the step's prologue
        self.kernels_ns.append(sum(one.nanoseconds for one in instructions))
        self.measuring_ns += perf_counter_ns() - begin
        return output

    def close(self) -> None:
        """As the inner backend."""
        self.inner.close()


@dataclass(frozen=True, slots=True)
class Overhead:
    """Medians over the steps of one batch size, in microseconds."""

    batch: int
    step: float
    python: float
    native: float
    kernels: float

    @property
    def fixed(self) -> float:
        """What is not kernels."""
        return self.python + self.native


def main() -> None:
    """Measure, print a table, end with one JSON document."""
    arguments = parse_arguments()
    model = load_model(resolve_model(arguments.model))
    config = EngineConfig(
        num_threads=arguments.threads,
        prefix_cache=False,
        num_kv_blocks=1024,
        max_sequences=max(arguments.batch),
    )
    program = build_model_program(model, config)
    backend = TimedBackend(NativeBackend(program, model.weights, config))
    eos_ids: frozenset[int] = frozenset()
    engine = Engine(program, backend, config, RealClock(), eos_ids, profile=DEFAULT_PROFILE)
    found = [
        measure(engine, backend, batch, arguments.steps, program.vocab_size)
        for batch in arguments.batch
    ]
    engine.close()
    print_table(found)
    document: dict[str, Any] = {"machine": measure_machine(arguments.threads).to_json()}
    print(json.dumps(document | {"steps": [asdict(overhead) for overhead in found]}))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--threads", type=int, default=0, help="0: all usable")
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 8, 32], help="batch sizes")
    parser.add_argument("--steps", type=int, default=150, help="steps of each pass")
    return parser.parse_args()


def measure(
    engine: Engine, backend: TimedBackend, batch: int, steps: int, vocab_size: int
) -> Overhead:
    """Time decode steps of `batch` sequences."""
    prompts = random_prompts(batch, PROMPT, vocab_size)
    names = add_all(engine, prompts, max_tokens=None)
    for _ in range(WARM_UP_STEPS):
        engine.step()
    backend.run_ns.clear()
    backend.kernels_ns.clear()
    python = np.array([time_python(engine, backend) for _ in range(steps)])
    run, kernels = np.array(backend.run_ns), np.array(backend.kernels_ns)
    for name in names:
        engine.cancel(name)
    while engine.has_work:
        engine.step()
    medians = (np.median(times) / 1e3 for times in (python + run, python, run - kernels, kernels))
    return Overhead(batch, *map(float, medians))


def time_python(engine: Engine, backend: TimedBackend) -> int:
    """Nanoseconds of one step outside the backend's `run`."""
    outside = backend.measuring_ns
    start = perf_counter_ns()
    engine.step()
    return perf_counter_ns() - start - (backend.measuring_ns - outside)


def print_table(found: Sequence[Overhead]) -> None:
    """For people."""
    print(f"{'batch':>6} {'step':>9} {'fixed':>8} {'python':>8} {'native':>8} {'kernels':>9}  µs")
    for one in found:
        print(
            f"{one.batch:>6} {one.step:>9.1f} {one.fixed:>8.1f} {one.python:>8.1f} "
            f"{one.native:>8.1f} {one.kernels:>9.1f}  python {one.python / one.step:.1%}"
        )


if __name__ == "__main__":
    main()

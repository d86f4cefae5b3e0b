"""Worker: Legato, in process. The job comes as JSON on stdin, the figures leave on stdout."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import legato
from legato.assemble import build_engine, build_model_program
from legato.bench.engine import measure_engine
from legato.clock import RealClock
from legato.config import EngineConfig
from legato.cost.estimate import ProgramWork, step_work
from legato.models.load import load_model
from legato.program.ops import StepShape


def read_bytes(work: ProgramWork, job: dict[str, Any], count: int) -> float:
    """Bytes of weights, keys and values that the middle decode step of `count` sequences reads."""
    depth = job["prompt"] + job["output"] // 2
    step = step_work(work, StepShape(((1, depth),) * count, count))
    return step.weight_bytes + step.kv_bytes


def main() -> None:
    """Read the job, measure, print."""
    job = json.load(sys.stdin)
    config = EngineConfig(
        num_threads=job["threads"],
        max_sequences=max(job["concurrency"]),
        prefix_cache=False,
        **job["options"],
    )
    clock = RealClock()
    model = load_model(Path(job["model"]))
    engine = build_engine(model, config, clock)
    work = ProgramWork.of(build_model_program(model, config))
    prompts = [tuple(prompt) for prompt in job["prompts"]]
    measure_engine(engine, clock, prompts[:1], 8)
    results = []
    for count in job["concurrency"]:
        figures = measure_engine(engine, clock, prompts[:count], job["output"])
        results.append(
            {
                "concurrency": count,
                "prefill": figures.prefill_tokens_per_s,
                "decode": figures.decode_tokens_per_s,
                "read GB/s": figures.decode_tokens_per_s
                / count
                * read_bytes(work, job, count)
                / 1e9,
            }
        )
    print(json.dumps({"version": legato.__version__, "results": results}))


if __name__ == "__main__":
    main()

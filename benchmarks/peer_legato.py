"""Worker: Legato, in process. The job comes as JSON on stdin, the figures leave on stdout."""

from __future__ import annotations

from pathlib import Path

import legato
from legato.assemble import build_engine, build_model_program
from legato.bench.engine import measure_engine
from legato.clock import RealClock
from legato.config import EngineConfig
from legato.cost.estimate import ProgramWork, step_work
from legato.models.load import load_model
from legato.program.ops import StepShape
from peer_job import Job, Rates, read_job, run_job


def read_bytes(work: ProgramWork, job: Job, count: int) -> float:
    """Bytes of weights, keys and values that the middle decode step of `count` sequences reads."""
    depth = job["prompt"] + job["output"] // 2
    step = step_work(work, StepShape(((1, depth),) * count, count))
    return step.weight_bytes + step.kv_bytes


def main() -> None:
    """Read the job, measure, print."""
    job = read_job()
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

    def measure(prompts: list[list[int]], output: int) -> Rates:
        figures = measure_engine(engine, clock, list(map(tuple, prompts)), output)
        decode, count = figures.decode_tokens_per_s, len(prompts)
        read = decode / count * read_bytes(work, job, count) / 1e9
        return {"prefill": figures.prefill_tokens_per_s, "decode": decode, "read GB/s": read}

    run_job(job, legato.__version__, measure)


if __name__ == "__main__":
    main()

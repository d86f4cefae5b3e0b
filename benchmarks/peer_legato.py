"""Worker: Legato, in process. The job comes as JSON on stdin, the figures leave on stdout."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import legato
from legato.assemble import build_engine
from legato.bench.engine import measure_engine
from legato.clock import RealClock
from legato.config import EngineConfig
from legato.models.load import load_model


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
    engine = build_engine(load_model(Path(job["model"])), config, clock)
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
            }
        )
    print(json.dumps({"version": legato.__version__, "results": results}))


if __name__ == "__main__":
    main()

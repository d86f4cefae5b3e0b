"""Worker: OpenVINO GenAI with continuous batching, reading the same GGUF file.

Run by peers.py in an environment of its own: the job comes as JSON on stdin, the figures leave as
one JSON line on stdout. `job["options"]["precision"]` may ask for an inference precision ("f32").
"""

from __future__ import annotations

import contextlib
import io
import time
from functools import partial
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai

from peer_job import Job, Rates, read_job, run_job


def make_pipeline(job: Job) -> genai.ContinuousBatchingPipeline:
    """The pipeline with prefix caching off and room for every sequence."""
    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    scheduler.max_num_batched_tokens = 512
    scheduler.max_num_seqs = max(job["concurrency"])
    scheduler.cache_size = 4
    properties: dict[str, Any] = {"INFERENCE_NUM_THREADS": job["threads"]}
    if precision := job.get("options", {}).get("precision"):
        properties["INFERENCE_PRECISION_HINT"] = precision
    with contextlib.redirect_stdout(io.StringIO()):
        return genai.ContinuousBatchingPipeline(job["model"], scheduler, "CPU", properties)


def measure(
    pipeline: genai.ContinuousBatchingPipeline, prompts: list[list[int]], output: int
) -> Rates:
    """Tokens per second over all sequences."""
    config = genai.GenerationConfig()
    config.max_new_tokens = output
    config.ignore_eos = True
    config.do_sample = False
    start = time.perf_counter()
    handles = [
        pipeline.add_request(i, ov.Tensor(np.array([prompt], np.int64)), config)
        for i, prompt in enumerate(prompts)
    ]
    counts = [0] * len(prompts)
    prefilled = None
    decoded = 0
    while pipeline.has_non_finished_requests():
        pipeline.step()
        fresh = [
            sum(len(o.generated_ids) for o in h.read().values()) if h.can_read() else 0
            for h in handles
        ]
        if prefilled is not None:
            decoded += sum(fresh)
        counts = [c + f for c, f in zip(counts, fresh, strict=True)]
        if prefilled is None and all(counts):
            prefilled = time.perf_counter()
    done = time.perf_counter()
    assert prefilled is not None
    total = sum(map(len, prompts))
    decode_s = max(done - prefilled, 1e-9)
    return {"prefill": total / (prefilled - start), "decode": decoded / decode_s}


def main() -> None:
    """Read the job, measure, print."""
    job = read_job()
    run_job(job, genai.__version__, partial(measure, make_pipeline(job)))


if __name__ == "__main__":
    main()

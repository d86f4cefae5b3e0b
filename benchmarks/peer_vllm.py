"""Worker: vLLM on the CPU, stepping its engine in process; it reads a bf16 folder of the model.

Run by peers.py in an environment of its own: the job comes as JSON on stdin, the figures leave as
one JSON line on stdout. bf16_folder.py makes the folder.
"""

from __future__ import annotations

import os
import time
from functools import partial

os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR"}
os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "4", "HF_HUB_OFFLINE": "1"}

import vllm

from peer_job import Job, Rates, read_job, run_job


def make_model(job: Job) -> vllm.LLM:
    """The model with prefix caching off and room for every sequence."""
    return vllm.LLM(
        job["model"],
        dtype="bfloat16",
        max_model_len=job["prompt"] + job["output"] + 16,
        max_num_seqs=max(job["concurrency"]),
        enable_prefix_caching=False,
        disable_log_stats=True,
    )


def measure(model: vllm.LLM, prompts: list[list[int]], output: int) -> Rates:
    """Tokens per second over all sequences."""
    engine = model.llm_engine
    params = vllm.SamplingParams(temperature=0, max_tokens=output, ignore_eos=True)
    start = time.perf_counter()
    for number, prompt in enumerate(prompts):
        engine.add_request(str(number), {"prompt_token_ids": prompt}, params)
    counts = dict.fromkeys(map(str, range(len(prompts))), 0)
    prefilled, early = None, 0
    while engine.has_unfinished_requests():
        for result in engine.step():
            counts[result.request_id] = len(result.outputs[0].token_ids)
        if prefilled is None and all(counts.values()):
            prefilled, early = time.perf_counter(), sum(counts.values())
    done = time.perf_counter()
    assert prefilled is not None
    total = sum(map(len, prompts))
    decoded = sum(counts.values()) - early
    return {"prefill": total / (prefilled - start), "decode": decoded / (done - prefilled)}


def main() -> None:
    """Read the job, measure, print."""
    job = read_job()
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = f"0-{job['threads'] - 1}"
    run_job(job, vllm.__version__, partial(measure, make_model(job)))


if __name__ == "__main__":
    main()

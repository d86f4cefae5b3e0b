"""Worker: llama.cpp through llama-cpp-python, driven by token ids, without its Python sampling.

Run by peers.py in an environment of its own: the job comes as JSON on stdin, the figures leave as
one JSON line on stdout.
"""

from __future__ import annotations

import ctypes
import time
from functools import partial

import llama_cpp
from llama_cpp import llama_cpp as low

from peer_job import Job, Rates, read_job, run_job


class Session:
    """A model and a context; sequences are numbered from 0."""

    def __init__(self, job: Job) -> None:
        low.llama_backend_init()
        self.model = low.llama_model_load_from_file(
            job["model"].encode(), low.llama_model_default_params()
        )
        sequences = max(job["concurrency"])
        params = low.llama_context_default_params()
        params.n_ctx = sequences * (job["prompt"] + job["output"] + 16)
        params.n_batch = params.n_ubatch = 512
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = job["threads"]
        params.flash_attn_type = low.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.kv_unified = True
        self.context = low.llama_init_from_model(self.model, params)
        self.vocab = low.llama_vocab_n_tokens(low.llama_model_get_vocab(self.model))
        self.batch = low.llama_batch_init(512, 0, 1)

    def reset(self) -> None:
        """Forget every sequence."""
        low.llama_memory_clear(low.llama_get_memory(self.context), True)

    def decode(self, rows: list[tuple[int, int, int, bool]]) -> None:
        """Run one batch of (token, position, sequence, wants logits)."""
        for i, (token, position, sequence, wanted) in enumerate(rows):
            self.batch.token[i] = token
            self.batch.pos[i] = position
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = sequence
            self.batch.logits[i] = wanted
        self.batch.n_tokens = len(rows)
        status = low.llama_decode(self.context, self.batch)
        if status:
            raise RuntimeError(f"llama_decode: {status}")

    def greedy(self, row: int) -> int:
        """The most likely token of a row of the last batch."""
        import numpy as np

        logits = low.llama_get_logits_ith(self.context, row)
        return int(np.ctypeslib.as_array(logits, (self.vocab,)).argmax())


def prefill(session: Session, tokens: list[int], sequence: int) -> int:
    """Prefill one sequence in chunks of 512; returns its first token."""
    for start in range(0, len(tokens), 512):
        chunk = tokens[start : start + 512]
        last = start + len(chunk) == len(tokens)
        session.decode(
            [(t, start + i, sequence, last and i == len(chunk) - 1) for i, t in enumerate(chunk)]
        )
    return session.greedy(len(tokens[-1 - (len(tokens) - 1) % 512 :]) - 1)


def measure(session: Session, prompts: list[list[int]], output: int) -> Rates:
    """Tokens per second over all sequences."""
    session.reset()
    start = time.perf_counter()
    tokens = [prefill(session, prompt, s) for s, prompt in enumerate(prompts)]
    prefilled = time.perf_counter()
    for step in range(output - 1):
        session.decode([(t, len(prompts[s]) + step, s, True) for s, t in enumerate(tokens)])
        tokens = [session.greedy(s) for s in range(len(prompts))]
    done = time.perf_counter()
    count = sum(map(len, prompts))
    decoded = (output - 1) * len(prompts)
    return {"prefill": count / (prefilled - start), "decode": decoded / (done - prefilled)}


def main() -> None:
    """Read the job, measure, print."""
    job = read_job()
    quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
        lambda level, text, data: None
    )
    low.llama_log_set(quiet, None)
    session = Session(job)
    run_job(job, llama_cpp.__version__, partial(measure, session))


if __name__ == "__main__":
    main()

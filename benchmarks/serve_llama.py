"""llama.cpp's own HTTP server, as the wheel xllamacpp carries it: 32 slots, flash attention.

    python benchmarks/serve_llama.py MODEL.gguf PORT THREADS

Started by serving.py in an environment of its own; runs until it is killed.
"""

from __future__ import annotations

import sys
import threading

import xllamacpp

SLOTS = 32
TOKENS_PER_SLOT = 1024


def server_params(model: str, port: int, threads: int) -> xllamacpp.CommonParams:
    """The best configuration known for many short requests on few cores."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * TOKENS_PER_SLOT
    params.cont_batching = True
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cache_prompt = False
    params.cache_ram_mib = 0
    return params


def main() -> None:
    """Serve."""
    model, port, threads = sys.argv[1:]
    server = xllamacpp.Server(server_params(model, int(port), int(threads)))
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()

"""Frozen configuration of an engine. A default exists once, here; the CLI and the API read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KVElement = Literal["f32", "f16", "bf16", "int8"]
KVDType = Literal["auto", "f32", "f16", "bf16", "int8"]
BackendName = Literal["native", "reference"]
SimdPath = Literal["auto", "avx512", "avx2", "portable"]
Precision = Literal["fast", "balanced", "exact"]
Scheduling = Literal["deadline", "throughput"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How an engine runs a model. Sizes are counts of tokens, blocks or sequences.

    Attributes:
        backend: which backend executes the program.
        simd: instruction-set path of the native backend; "auto" takes the best this CPU has.
        precision: activations of the native backend's linears against block formats: int8
            ("fast"), int8 with 12 bits for the largest of each block, or 15 bits everywhere.
        num_threads: worker threads; 0 means what the affinity mask and cgroup quota allow.
        max_context: longest prompt + output of one sequence; 0 means what the model was trained on.
        block_size: tokens per KV block; a multiple of 16.
        num_kv_blocks: size of the KV pool; 0 means sized from `kv_memory`.
        kv_memory: bytes for the KV pool; 0 means a share of the memory that is free.
        kv_dtype: element type of cached keys and values. "auto" is "f16" where the precision is
            "exact", else "bf16", which attention also multiplies in where the CPU has such
            products. "int8" (one f32 scale for each token and KV head) is half as large and
            lossy: `legato bench fidelity --kv-dtype int8` tells how much.
        max_batch_tokens: most token rows in one step (the prefill chunk is bounded by it).
        max_sequences: most sequences that run at the same time.
        max_waiting: most requests that wait for admission; one more is refused.
        prefix_cache: reuse KV blocks of equal prompt prefixes.
        scheduling: "deadline" cuts prompts so that running streams stay on time; "throughput"
            fills every step.
        speculate: how next tokens are guessed and verified several at once, which never changes
            them: "off", "lookup" or "suffix" (copies from the text itself), "recall" (the same, and
            what the model mostly says: `legato calibrate --own-texts`), "draft=MODEL" (asks a
            smaller model with the same tokenizer) or "self" (asks this one with some layers left
            out); then ",k=N" for N tokens a step instead of as many as pay, and for "suffix" and
            "recall" ",shared=N" to remember N tokens of a tenant's outputs.
        ttft_ms: time to first token of requests that bring no objective; 0 means 2 s and three
            times what the prompt takes on an idle machine.
        tbt_ms: likewise the time between two tokens; 0 means what a full engine keeps up, at
            least 50 ms.
        patience: a server refuses requests whose tokens it predicts later than this many times
            their objectives (for those between tokens: where request or operator gave one); 0
            refuses none for that reason. Less than 1 leaves a part of the objective for what is
            not foreseen; with more the admitted wait longer, and under overload come too late.
            A burst of less than 10 s may wait five times longer where nobody stated a `ttft_ms`.
    """

    backend: BackendName = "native"
    simd: SimdPath = "auto"
    precision: Precision = "balanced"
    num_threads: int = 0
    max_context: int = 0
    block_size: int = 16
    num_kv_blocks: int = 0
    kv_memory: int = 0
    kv_dtype: KVDType = "auto"
    max_batch_tokens: int = 512
    max_sequences: int = 64
    max_waiting: int = 512
    prefix_cache: bool = True
    scheduling: Scheduling = "deadline"
    speculate: str = "off"
    ttft_ms: float = 0.0
    tbt_ms: float = 0.0
    patience: float = 0.8

    @property
    def kv_element(self) -> KVElement:
        """The element type that `kv_dtype` stands for."""
        if self.kv_dtype == "auto":
            return "f16" if self.precision == "exact" else "bf16"
        return self.kv_dtype

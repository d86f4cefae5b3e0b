"""The native runtime. native/program.h says what each instruction and field means."""

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from legato.backends.base import F32, I32, StepInput

Bytes = npt.NDArray[np.uint8]

NONE: int

class StepError(ValueError): ...

class Format(Enum):
    F32 = 0
    F16 = 1
    BF16 = 2
    Q4_0 = 3
    Q4_1 = 4
    Q5_0 = 5
    Q5_1 = 6
    Q8_0 = 7
    Q4_K = 8
    Q5_K = 9
    Q6_K = 10

class Rows(Enum):
    TOKENS = 0
    OUTPUTS = 1
    LOGITS = 2

class Activation(Enum):
    SILU = 0
    GELU_TANH = 1

class Elementwise(Enum):
    ADD = 0
    SCALE = 1
    SOFT_CAP = 2

class KVType(Enum):
    F32 = 0
    F16 = 1
    BF16 = 2
    INT8 = 3

class Simd(Enum):
    PORTABLE = 0
    AVX2 = 1
    AVX512 = 2

class Precision(Enum):
    FAST = 0
    BALANCED = 1
    EXACT = 2

class Buffer:
    def __init__(self, rows: Rows, width: int, slot: int) -> None: ...

class Weight:
    """A matrix in the bytes of its file, which must live as long as the executor."""

    def __init__(self, format: Format, rows: int, columns: int, data: Bytes) -> None: ...

class Rope:
    def __init__(
        self, frequencies: Sequence[float], interleaved: bool, magnitude: float
    ) -> None: ...

class KV:
    def __init__(
        self,
        windows: Sequence[int],
        layers_per_block: int,
        block_size: int,
        kv_heads: int,
        head_dim: int,
        type: KVType,
    ) -> None: ...
    @property
    def block_bytes(self) -> int: ...

class Norm:
    def __init__(self, vector: int, eps: float) -> None: ...

class Embed:
    def __init__(self, table: int, out: int, scale: float) -> None: ...

class RmsNorm:
    def __init__(self, input: int, norm: Norm, addend: int, out: int) -> None: ...

class Projection:
    def __init__(self, weight: int, bias: int, addend: int, out: int) -> None: ...

class Linear:
    def __init__(self, input: int, norm: Norm | None, parts: Sequence[Projection]) -> None: ...

class GatedLinear:
    def __init__(
        self, input: int, norm: Norm | None, gate: int, up: int, activation: Activation
    ) -> None: ...

class Heads:
    def __init__(
        self, input: int, out: int, head_dim: int, norm: Norm | None, rope: int
    ) -> None: ...

class Append:
    def __init__(self, key: int, value: int, group: int, layer: int) -> None: ...

class PrepareHeads:
    def __init__(self, parts: Sequence[Heads], append: Append | None) -> None: ...

class Attention:
    def __init__(
        self,
        query: int,
        out: int,
        group: int,
        layer: int,
        heads: int,
        scale: float,
        soft_cap: float,
        window: int,
    ) -> None: ...

class GatedActivation:
    def __init__(self, gate: int, up: int, out: int, activation: Activation) -> None: ...

class Map:
    def __init__(self, kind: Elementwise, a: int, b: int, out: int, factor: float) -> None: ...

class TakeRows:
    def __init__(self, input: int, out: int) -> None: ...

class Sample:
    def __init__(self, logits: int) -> None: ...

Instruction = (
    Embed
    | RmsNorm
    | Linear
    | GatedLinear
    | PrepareHeads
    | Attention
    | GatedActivation
    | Map
    | TakeRows
    | Sample
)

class Plan:
    def __init__(
        self,
        instructions: Sequence[Instruction],
        buffers: Sequence[Buffer],
        weights: Sequence[Weight],
        vectors: Sequence[Sequence[float]],
        ropes: Sequence[Rope],
        kv: KV,
        result: int,
        hidden: int,
        max_context: int,
    ) -> None: ...

class Options:
    def __init__(
        self, simd: Simd, precision: Precision, threads: int, rows: int, outputs: int
    ) -> None: ...

class InstructionProfile:
    """What an instruction cost since the profile began; see native/profile.h."""

    @property
    def kind(self) -> str: ...
    @property
    def rows(self) -> Rows:
        """Which rows it works on."""

    @property
    def nanoseconds(self) -> int:
        """Until its barrier, over all steps."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that it reads in a step."""

    @property
    def weights(self) -> int:
        """Weights that it multiplies each row with."""

class Executor:
    def __init__(
        self,
        plan: Plan,
        options: Options,
        beside: Executor | None = None,
        share_kv: bool = False,
    ) -> None: ...
    def allocate_kv(self, blocks: int) -> None: ...
    def copy_blocks(self, sources: Sequence[int], targets: Sequence[int]) -> None: ...
    def run(self, step: StepInput) -> tuple[I32, F32, I32, F32, F32 | None, F32 | None]: ...
    def start_profile(self) -> None: ...
    def profile(self) -> list[InstructionProfile]: ...
    @property
    def threads(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...

def supports(simd: Simd) -> bool: ...
def best_simd() -> Simd: ...
def attention_products(simd: Simd, type: KVType) -> str: ...
def repack(format: Format, rows: int, columns: int, data: Bytes) -> F32:
    """A weight as the kernels see it: packed into panels and unpacked, f32 [rows, columns]."""

def dequantise(format: Format, rows: int, columns: int, data: Bytes) -> F32:
    """A weight as the embedding lookup reads it, f32 [rows, columns]."""

def measure_bandwidth(threads: int, bytes: int) -> float:
    """DRAM read bandwidth in GB/s of so many threads over `bytes` of memory."""

def measure_int8_peak(threads: int) -> float:
    """10⁹ int8 multiply-adds a second of so many threads."""

def plain_texts(data: bytes, ends: list[int], first: int, before: bytes, after: bytes) -> list[str]:
    """The texts of the pieces of `data`, the first of them number `first`, that are one HTTP chunk
    each with `before` and `after` around a text that needs no parsing. Stops at another piece."""

class Draft:
    """A `speculative.draft.Draft` whose tokens are arrays."""

    def extend(self, tokens: I32) -> None: ...
    def propose(self, count: int) -> list[int]: ...
    def finish(self, output: I32) -> None: ...
    @property
    def confidences(self) -> list[int]: ...

class Drafter:
    """Makes drafts; native/drafts/draft.h says what a drafter is."""

    def open(self, tenant: str) -> Draft: ...

class LookupDrafter(Drafter):
    """`speculative.lookup.LookupDrafter`."""

    def __init__(self) -> None: ...

class SuffixDrafter(Drafter):
    """`speculative.suffix.SuffixDrafter`."""

    def __init__(self, shared_tokens: int) -> None: ...

class RecallDrafter(Drafter):
    """`speculative.recall.RecallDrafter` with the followers of a table: the keys of their contexts,
    their tokens and classes. `rates` are the first places of its `priors`."""

    def __init__(
        self,
        keys: npt.NDArray[np.int64],
        tokens: I32,
        classes: npt.NDArray[np.uint8],
        rates: Sequence[float],
        shared_tokens: int,
    ) -> None: ...

class DraftedText:
    """A text of a `Book`."""

class Book:
    """`speculative.book.ReferenceBook` over native drafters; the last arguments of `__init__` are
    the constants of `speculative.accept` and `speculative.depth`."""

    def __init__(
        self,
        drafter: Drafter,
        priors: Sequence[Sequence[float]],
        decay: float,
        prior_trials: float,
        min_gain: float,
    ) -> None: ...
    def open(self, tenant: str) -> DraftedText: ...
    def propose(
        self, asked: Sequence[tuple[DraftedText, I32, int]], prices: _RowPrices, limit_ns: float
    ) -> tuple[list[list[int]], float]: ...
    def propose_all(
        self, asked: Sequence[tuple[DraftedText, I32, int]], max_rows: int
    ) -> tuple[list[list[int]], float]: ...
    def verified(self, text: DraftedText, drafted: int, accepted: int) -> None: ...
    def finish(self, text: DraftedText, output: I32) -> None: ...

class _RowPrices(Protocol):
    """What `Book.propose` reads of a `speculative.row_prices.RowPrices`."""

    @property
    def decodes(self) -> int: ...
    @property
    def times(self) -> Sequence[float]: ...
    @property
    def margin(self) -> float: ...
    @property
    def least_gain(self) -> float: ...

class Receiver:
    """Reads sockets on a thread of its own; only on Linux. native/receiver.h says how."""

    def __init__(self) -> None: ...
    @property
    def descriptor(self) -> int: ...
    def add(self, socket: int) -> None: ...
    def remove(self, socket: int) -> None: ...
    def set_eager(self, socket: int, eager: bool) -> None: ...
    def take(self, socket: int) -> tuple[bytes, list[int], list[int], bool, int]:
        """Bytes, the end of each piece in them, its stamp in ns, closed or not, errno."""

    def ready(self) -> list[int]: ...

def stamp_arrivals(socket: int) -> None:
    """Have the kernel stamp what comes on a socket, or on those that it accepts; only on Linux."""

def next_arrival_ns(socket: int) -> int:
    """When the bytes to be read next came, on the monotonic clock; 0 where nobody knows."""

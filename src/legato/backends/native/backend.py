"""Runs a program through the native runtime. Knows no op: `lower.py` makes the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from legato import _native
from legato.backends.base import Backend, StepInput, StepOutput
from legato.backends.native.cpus import usable_cpus
from legato.backends.native.lower import KV_TYPES, lower
from legato.config import EngineConfig, SimdPath
from legato.errors import BackendError, CapacityError
from legato.program.program import Program
from legato.tensor import Tensor

SIMD = {
    "avx512": _native.Simd.AVX512,
    "avx2": _native.Simd.AVX2,
    "portable": _native.Simd.PORTABLE,
}
PRECISION = {
    "fast": _native.Precision.FAST,
    "balanced": _native.Precision.BALANCED,
    "exact": _native.Precision.EXACT,
}


class NativeBackend:
    """Executes a program with C++ kernels. See `legato.backends.base.Backend` for the contract.

    One `beside` another uses its threads, and its packed weights where the bytes are the same
    ones; with `share_kv` its KV pool too. Only one of them may run at a time.

    Raises BackendError where this CPU lacks the instruction set that `config` forces, or where
    `config` and program disagree; CapacityError where memory for the weights cannot be had.
    """

    def __init__(
        self,
        program: Program,
        weights: Mapping[str, Tensor],
        config: EngineConfig,
        *,
        beside: Backend | None = None,
        share_kv: bool = False,
    ) -> None:
        _check_kv_type(program, config)
        simd = _choose_simd(config.simd)
        self._name = f"native/{simd.name.lower()}"
        self._block_bytes = program.kv.block_bytes
        self._has_pool = share_kv
        # The runtime reads embedding rows from the tensors' own bytes, so they must stay alive.
        self._tensors = [weights[name] for name in program.weights]
        options = _native.Options(
            simd,
            PRECISION[config.precision],
            config.num_threads or usable_cpus(),
            config.max_batch_tokens,
            min(config.max_sequences, config.max_batch_tokens),
        )
        try:
            self._executor: _native.Executor | None = _native.Executor(
                lower(program, weights), options, _executor_of(beside), share_kv
            )
        except _native.StepError as error:
            raise BackendError(str(error)) from error
        except MemoryError as error:
            raise CapacityError("no memory for the weights in kernel order") from error

    @property
    def name(self) -> str:
        """ "native/" and the instruction set."""
        return self._name

    @property
    def num_threads(self) -> int:
        """Threads that execute a step, the calling one included."""
        return self._running().threads

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights that it packed itself: what it shares with others is not counted."""
        return self._running().weight_bytes

    def allocate_kv(self, num_blocks: int) -> None:
        """Make the pool. Raises CapacityError where the memory cannot be had."""
        if self._has_pool:
            raise BackendError("the KV pool is already allocated")
        try:
            self._running().allocate_kv(num_blocks)
        except (MemoryError, TypeError) as error:
            size = num_blocks * self._block_bytes
            raise CapacityError(
                f"no memory for {num_blocks} KV blocks ({size:,} bytes); ask for fewer"
            ) from error
        self._has_pool = True

    def copy_blocks(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy whole blocks pairwise, in the order given."""
        try:
            self._running().copy_blocks(list(sources), list(targets))
        except _native.StepError as error:
            raise BackendError(f"cannot copy KV blocks: {error}") from error

    def run(self, step: StepInput) -> StepOutput:
        """Execute the program once; raises BackendError where `step` breaks the contract."""
        if not self._has_pool:
            raise BackendError("the KV pool is not allocated: call allocate_kv first")
        try:
            ids, logprobs, top_ids, top_logprobs, logits, hidden = self._running().run(step)
        except (ValueError, RuntimeError, MemoryError) as error:
            raise BackendError(str(error)) from error
        return StepOutput(
            token_ids=ids,
            logprobs=logprobs,
            top_ids=top_ids,
            top_logprobs=top_logprobs,
            logits=logits,
            hidden=hidden,
        )

    def start_profile(self) -> None:
        """Measure every instruction of the steps from now on; forgets what was measured."""
        self._running().start_profile()

    def profile(self) -> list[_native.InstructionProfile]:
        """Time and work of the step's prologue and of every instruction since `start_profile`."""
        return self._running().profile()

    def close(self) -> None:
        """Join the threads and free weights, scratch and KV pool. Idempotent."""
        self._executor = None
        self._tensors = []

    def _running(self) -> _native.Executor:
        if self._executor is None:
            raise BackendError("the backend is closed")
        return self._executor


def _executor_of(beside: Backend | None) -> _native.Executor | None:
    if beside is None:
        return None
    if not isinstance(beside, NativeBackend):
        raise BackendError(f"a native backend shares nothing with a {beside.name} one")
    return beside._running()


def kernel_names(config: EngineConfig) -> dict[str, str]:
    """Which kernels a native backend with `config` runs on this CPU, by part."""
    simd = _choose_simd(config.simd)
    products = _native.attention_products(simd, KV_TYPES[config.kv_element])
    return {
        "kernels": f"native/{simd.name.lower()}",
        "attention": f"{products} products over a {config.kv_element} cache",
    }


def _choose_simd(path: SimdPath) -> _native.Simd:
    if path == "auto":
        return _native.best_simd()
    simd = SIMD[path]
    if not _native.supports(simd):
        best = _native.best_simd().name.lower()
        raise BackendError(f"this CPU has no {path}; use simd='auto', which takes {best!r} here")
    return simd


def _check_kv_type(program: Program, config: EngineConfig) -> None:
    if config.kv_element != program.kv.dtype:
        raise BackendError(
            f"config.kv_dtype is {config.kv_element!r}, but the program was built for "
            f"{program.kv.dtype!r}; build both from the same config"
        )

"""The reference backend: numpy, fp32 on dequantised weights. Readable before fast.

A row's results do not depend on the rows beside it: `linear` multiplies tiles of one size, in
which a row's place comes from its position; attention works on one row at a time, and the rest
row by row. So a sequence has the same bits in any batch, for a given machine and BLAS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from legato.backends.base import F32, Backend, StepInput, StepOutput
from legato.backends.check import check_step
from legato.backends.reference_kv import ReferenceKV
from legato.backends.reference_ops import FUNCTIONS, State
from legato.config import EngineConfig
from legato.dequantize import dequantize
from legato.errors import BackendError, CapacityError
from legato.program.head import head_op
from legato.program.memory import lifetimes
from legato.program.program import Program
from legato.sampling.sampler import Sampled, sample
from legato.tensor import Tensor


class ReferenceBackend:
    """Executes a program op by op. See `legato.backends.base.Backend` for the contract.

    With `share_kv` it uses the KV pool of the one `beside` it.
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
        if config.backend != "reference":
            raise BackendError(f"the reference backend was given a config for {config.backend!r}")
        self._program = program
        self._weights = {name: dequantize(weights[name]) for name in program.weights}
        self._last_use = {name: life.last for name, life in lifetimes(program).items()}
        head = head_op(program)
        self._hidden = "" if head is None else head.inputs[0]
        self._logits = program.ops[-1].inputs[0]
        self._kv: ReferenceKV | None = None
        self._pool_owner = self if beside is None or not share_kv else _shared(beside, program)

    @property
    def name(self) -> str:
        """Always "reference"."""
        return "reference"

    def allocate_kv(self, num_blocks: int) -> None:
        """Make the pool."""
        if self._kv is not None:
            raise BackendError("the KV pool is already allocated")
        try:
            self._kv = ReferenceKV(self._program.kv, num_blocks)
        except MemoryError as error:
            size = num_blocks * self._program.kv.block_bytes
            raise CapacityError(
                f"no memory for {num_blocks} KV blocks ({size:,} bytes); ask for fewer"
            ) from error

    def copy_blocks(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy whole blocks pairwise, in the order given."""
        self._pool().copy(sources, targets)

    def run(self, step: StepInput) -> StepOutput:
        """Execute the program once; raises BackendError where `step` breaks the contract."""
        state = State(self._program, self._weights, self._pool(), step)
        check_step(step, self._program, num_blocks=state.kv.num_blocks)
        found = self._compute(state, self._wanted(step))
        return _output(step, found.get(self._logits), found.get(self._hidden))

    def close(self) -> None:
        """Drop weights and KV pool."""
        self._weights = {}
        self._kv = None

    def _wanted(self, step: StepInput) -> set[str]:
        """The buffers that the answer needs; the logits where it needs nothing else."""
        if not step.want_hidden:
            return {self._logits}
        if not self._hidden:
            raise BackendError("malformed step: want_hidden, but this program has no head")
        head = step.want_logits or step.sampling is not None
        return {self._hidden, self._logits} if head else {self._hidden}

    def _compute(self, state: State, wanted: set[str]) -> dict[str, F32]:
        """Run the ops until the `wanted` buffers are there."""
        live: dict[str, F32] = {}
        for index, op in enumerate(self._program.ops):
            if live.keys() >= wanted:
                break
            result = FUNCTIONS[op.kind](state, op, *(live[name] for name in op.inputs))
            if result is not None:
                live[op.outputs[0]] = result
            for name in set(op.inputs).difference(wanted):
                if self._last_use[name] == index:
                    del live[name]
        return {name: live[name] for name in wanted}

    def _pool(self) -> ReferenceKV:
        kv = self._pool_owner._kv
        if kv is None:
            raise BackendError("the KV pool is not allocated: call allocate_kv first")
        return kv


def _shared(beside: Backend, program: Program) -> ReferenceBackend:
    """`beside`, whose KV pool a backend for `program` is to use."""
    if not isinstance(beside, ReferenceBackend) or beside._program.kv != program.kv:
        raise BackendError("a KV pool is shared only between programs of one layout")
    return beside


def _output(step: StepInput, logits: F32 | None, hidden: F32 | None) -> StepOutput:
    chosen = _nothing()
    if step.sampling is not None:
        assert logits is not None
        chosen = sample(logits, step.sampling)
    wanted = logits if step.want_logits else None
    return StepOutput(**chosen._asdict(), logits=wanted, hidden=hidden)


def _nothing() -> Sampled:
    ids, values = np.empty(0, np.int32), np.empty(0, np.float32)
    return Sampled(ids, values, ids.reshape(0, 0), values.reshape(0, 0))

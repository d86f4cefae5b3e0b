"""From a program to a native plan, fusing ops where a layer's usual patterns match.

An op that no pattern takes becomes an instruction of its own. The patterns:

    embed, scale                     → Embed
    norm, linear …                   → Linear with its norm, all projections of one input together
    linear, add                      → Linear with an addend
    norm, add                        → RmsNorm with an addend
    gate, up, gated_activation, down → GatedLinear, Linear
    norm, rope …, kv_append          → PrepareHeads
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from legato import _native
from legato.backends.native.flow import Flow
from legato.backends.native.slots import Uses, assign_slots
from legato.backends.native.tables import Tables
from legato.config import KVElement
from legato.models.arch import RopeConfig
from legato.program.kv import layer_location
from legato.program.program import Op, OpKind, Program
from legato.tensor import Tensor

KV_TYPES: Mapping[KVElement, _native.KVType] = {
    "f32": _native.KVType.F32,
    "f16": _native.KVType.F16,
    "bf16": _native.KVType.BF16,
    "int8": _native.KVType.INT8,
}
ACTIVATIONS = {
    "silu": _native.Activation.SILU,
    "gelu_tanh": _native.Activation.GELU_TANH,
}


def lower(program: Program, tensors: Mapping[str, Tensor]) -> _native.Plan:
    """The native plan of `program`. The bytes of `tensors` must outlive it."""
    return _Lowering(program, tensors).plan()


class _Lowering:
    """Walks the ops in order; `fused` names those that an earlier instruction already does."""

    def __init__(self, program: Program, tensors: Mapping[str, Tensor]) -> None:
        self.program = program
        self.tables = Tables(tensors)
        self.flow = Flow(program)
        self.instructions: list[_native.Instruction] = []
        self.uses: list[Uses] = []
        self.defined: set[str] = set()
        self.fused: set[str] = set()
        self.norms: dict[str, Op] = {}  # by output: left to the op that reads it
        self.rotations: list[Op] = []  # ropes left to the append or the first reader
        self.handed_over: set[str] = set()  # exists as int8 rows only

    def plan(self) -> _native.Plan:
        """Lower all ops and give the buffers their memory."""
        for op in self.program.ops:
            if op.name not in self.fused:
                RULES[op.kind](self, op)
        slots = assign_slots(self.uses, self.program.buffers)
        buffers = [self._buffer(name, slots[name]) for name in self.tables.buffers]
        return _native.Plan(
            instructions=self.instructions,
            buffers=buffers,
            weights=self.tables.weight_specs(),
            vectors=self.tables.vector_values(),
            ropes=self.tables.rope_specs(),
            kv=_kv(self.program),
            result=self.tables.buffer(self.program.ops[-1].inputs[0]),
            hidden=self.index(self.flow.hidden),
            max_context=self.program.max_context,
        )

    def embed(self, op: Op) -> None:
        """Embed, with the scale that follows."""
        out, scale = op.outputs[0], self.flow.only_reader(op, OpKind.SCALE)
        if scale is not None:
            out = self.fuse(scale)
        factor = 1.0 if scale is None else scale.number("factor")
        table = self.tables.weight(op.weights[0])
        self.emit(_native.Embed(table, self.tables.buffer(out), factor), Uses((), (out,)))

    def rms_norm(self, op: Op) -> None:
        """Left to the linears or the rope that read it, else an instruction of its own."""
        if self.flow.is_normalised_by_readers(op):
            self.norms[op.outputs[0]] = op
            return
        source, (addend, out) = op.inputs[0], self.addend(op)
        reads = (source, addend) if addend else (source,)
        buffer = self.tables.buffer
        self.emit(
            _native.RmsNorm(buffer(source), self.tables.norm(op), self.index(addend), buffer(out)),
            Uses(reads, (out,), tuple((out, old) for old in reads)),
        )

    def linear(self, op: Op) -> None:
        """All linears of one input at once, with their norm, their addends, their activation."""
        readers = self.flow.readers(op.inputs[0])
        group = [reader for reader in readers if reader.kind is OpKind.LINEAR]
        activation = self.flow.gated_activation_of(group)
        self.fused.update(member.name for member in group)
        source, norm = self.normalised(op.inputs[0])
        if activation is not None:
            self.gated_linear(source, norm, activation)
            return
        parts, reads, writes = [], [source] * (source not in self.handed_over), []
        for member in group:
            addend, out = self.addend(member)
            parts.append(self.projection(member, addend, out))
            reads += [addend] if addend else []
            writes.append(out)
        input_index = _native.NONE if source in self.handed_over else self.tables.buffer(source)
        self.emit(_native.Linear(input_index, norm, parts), Uses(tuple(reads), tuple(writes)))

    def gated_linear(self, source: str, norm: _native.Norm | None, activation: Op) -> None:
        """Gate and up projections and their activation, kept as int8 rows."""
        gate, up = (self.flow.writer(name) for name in activation.inputs)
        self.handed_over.add(self.fuse(activation))
        instruction = _native.GatedLinear(
            self.tables.buffer(source),
            norm,
            self.tables.weight(gate.weights[0]),
            self.tables.weight(up.weights[0]),
            ACTIVATIONS[str(activation.param("activation"))],
        )
        self.emit(instruction, Uses((source,), ()))

    def rope(self, op: Op) -> None:
        """Left to the append or the first instruction that reads it."""
        self.rotations.append(op)

    def kv_append(self, op: Op) -> None:
        """Prepare heads, then append."""
        key, value = op.inputs
        group, layer = layer_location(self.program.kv, op.integer("layer"))
        self.prepare_heads(
            _native.Append(self.tables.buffer(key), self.tables.buffer(value), group, layer),
            reads=(key, value),
        )

    def prepare_heads(self, append: _native.Append | None, reads: tuple[str, ...]) -> None:
        """One instruction for all ropes that wait, with the append if there is one."""
        rotations, self.rotations = self.rotations, []
        pairs = [(op.outputs[0], self.normalised(op.inputs[0])[0]) for op in rotations]
        writes = tuple(out for out, _ in pairs)
        outside = tuple(name for name in reads if name not in writes)
        self.emit(
            _native.PrepareHeads([self.heads(op) for op in rotations], append),
            Uses(tuple(source for _, source in pairs) + outside, writes, tuple(pairs)),
        )

    def heads(self, op: Op) -> _native.Heads:
        """One rope with the norm before it."""
        source, norm = self.normalised(op.inputs[0])
        out, config = op.outputs[0], op.param("rope")
        assert isinstance(config, RopeConfig)
        return _native.Heads(
            self.tables.buffer(source),
            self.tables.buffer(out),
            self.program.buffers[out].width // op.integer("heads"),
            norm,
            self.tables.rope(config),
        )

    def attention(self, op: Op) -> None:
        """Attention over the cache."""
        (query,), (out,) = op.inputs, op.outputs
        group, layer = layer_location(self.program.kv, op.integer("layer"))
        instruction = _native.Attention(
            query=self.tables.buffer(query),
            out=self.tables.buffer(out),
            group=group,
            layer=layer,
            heads=op.integer("num_heads"),
            scale=op.number("scale"),
            soft_cap=0.0 if op.param("soft_cap") is None else op.number("soft_cap"),
            window=0 if op.param("window") is None else op.integer("window"),
        )
        self.emit(instruction, Uses((query,), (out,)))

    def gated_activation(self, op: Op) -> None:
        """activation(gate) · up."""
        gate, up = op.inputs
        out = op.outputs[0]
        instruction = _native.GatedActivation(
            self.tables.buffer(gate),
            self.tables.buffer(up),
            self.tables.buffer(out),
            ACTIVATIONS[str(op.param("activation"))],
        )
        self.emit(instruction, Uses(op.inputs, (out,), ((out, gate), (out, up))))

    def add(self, op: Op) -> None:
        """a + b."""
        self.map(_native.Elementwise.ADD, op, 0.0)

    def scale(self, op: Op) -> None:
        """factor · x."""
        self.map(_native.Elementwise.SCALE, op, op.number("factor"))

    def soft_cap(self, op: Op) -> None:
        """cap · tanh(x / cap)."""
        self.map(_native.Elementwise.SOFT_CAP, op, op.number("cap"))

    def map(self, kind: _native.Elementwise, op: Op, factor: float) -> None:
        """An op on single elements."""
        out = op.outputs[0]
        a, b = self.index(op.inputs[0]), self.index(op.inputs[1] if op.inputs[1:] else None)
        self.emit(
            _native.Map(kind, a, b, self.tables.buffer(out), factor),
            Uses(op.inputs, (out,), tuple((out, source) for source in op.inputs)),
        )

    def take_rows(self, op: Op) -> None:
        """The rows that are sampled."""
        (source,), (out,) = op.inputs, op.outputs
        instruction = _native.TakeRows(self.tables.buffer(source), self.tables.buffer(out))
        self.emit(instruction, Uses((source,), (out,)))

    def sample(self, op: Op) -> None:
        """Tokens from logits."""
        self.emit(_native.Sample(self.tables.buffer(op.inputs[0])), Uses(op.inputs, ()))

    def emit(self, instruction: _native.Instruction, uses: Uses) -> None:
        """Append an instruction, after the ropes that it reads."""
        if any(op.outputs[0] in uses.reads for op in self.rotations):
            self.prepare_heads(None, ())
        self.instructions.append(instruction)
        self.uses.append(uses)
        self.defined.update(uses.writes)

    def fuse(self, op: Op) -> str:
        """Take `op` into the instruction that is being made; gives its output."""
        self.fused.add(op.name)
        return op.outputs[0]

    def addend(self, op: Op) -> tuple[str | None, str]:
        """What an add that follows adds to the output of `op`, and the output after it."""
        out = op.outputs[0]
        add = self.flow.only_reader(op, OpKind.ADD)
        if add is None:
            return None, out
        others = [name for name in add.inputs if name != out]
        if len(others) != 1 or others[0] not in self.defined:
            return None, out
        return others[0], self.fuse(add)

    def normalised(self, name: str) -> tuple[str, _native.Norm | None]:
        """The buffer to read in place of `name`, and the norm to apply to it."""
        norm = self.norms.get(name)
        return (name, None) if norm is None else (norm.inputs[0], self.tables.norm(norm))

    def projection(self, op: Op, addend: str | None, out: str) -> _native.Projection:
        """One matrix product of a Linear."""
        return _native.Projection(
            self.tables.weight(op.weights[0]),
            self.tables.bias(op),
            self.index(addend),
            self.tables.buffer(out),
        )

    def index(self, name: str | None) -> int:
        """Index of a buffer that may be absent."""
        return _native.NONE if name is None else self.tables.buffer(name)

    def _buffer(self, name: str, slot: int) -> _native.Buffer:
        buffer = self.program.buffers[name]
        rows = {"tokens": _native.Rows.TOKENS, "outputs": _native.Rows.OUTPUTS}[buffer.rows]
        if name in self.flow.after_hidden:
            rows = _native.Rows.LOGITS
        return _native.Buffer(rows, buffer.width, slot)


RULES: Mapping[OpKind, Callable[[_Lowering, Op], None]] = {
    OpKind.EMBED: _Lowering.embed,
    OpKind.SCALE: _Lowering.scale,
    OpKind.RMS_NORM: _Lowering.rms_norm,
    OpKind.LINEAR: _Lowering.linear,
    OpKind.ROPE: _Lowering.rope,
    OpKind.KV_APPEND: _Lowering.kv_append,
    OpKind.ATTENTION: _Lowering.attention,
    OpKind.GATED_ACTIVATION: _Lowering.gated_activation,
    OpKind.ADD: _Lowering.add,
    OpKind.TAKE_ROWS: _Lowering.take_rows,
    OpKind.SOFT_CAP: _Lowering.soft_cap,
    OpKind.SAMPLE: _Lowering.sample,
}


def _kv(program: Program) -> _native.KV:
    kv = program.kv
    return _native.KV(
        windows=[group.window or 0 for group in kv.groups],
        layers_per_block=kv.layers_per_block,
        block_size=kv.block_size,
        kv_heads=kv.num_kv_heads,
        head_dim=kv.head_dim,
        type=KV_TYPES[kv.dtype],
    )

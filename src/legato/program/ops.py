"""The op table: operands, shape rule, FLOPs and bytes of every op, in one place.

The arithmetic is defined by `backends/reference_ops.py`. The cost model, the verifier and the
printed form all read this table.

Model FLOPs of a step are those of `linear` (2 · rows · out · in, which sum to 2 · T · N) and of
`attention` (4 · heads · head_dim · q · (q + past) a layer: the whole rectangle, causal or not, as
is usual for MFU; a window bounds the second factor). Other ops count a few FLOPs an element, exp
and tanh as one: below 1 % of a step. KV bytes per token are 2 · layers · kv_heads · head_dim ·
element_bytes: written once, then read by each step that attends to the token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from legato.models.arch import RopeConfig
from legato.program import shapes
from legato.program.program import Buffer, Op, OpKind, Program, RowKind, WeightInfo


@dataclass(frozen=True, slots=True)
class StepShape:
    """What a step's cost depends on: per sequence (new rows, tokens cached before), outputs."""

    sequences: tuple[tuple[int, int], ...]
    outputs: int

    @property
    def tokens(self) -> int:
        """Token rows in the step."""
        return sum(rows for rows, _ in self.sequences)

    def rows(self, kind: RowKind) -> int:
        """Rows of a buffer of that kind."""
        return self.tokens if kind == "tokens" else self.outputs


@dataclass(frozen=True, slots=True)
class Cost:
    """Arithmetic and traffic of an op: multiply and add count as two FLOPs.

    `weight_bytes` and `kv_bytes` come from memory; `activation_bytes` mostly from cache.
    """

    flops: float = 0.0
    weight_bytes: float = 0.0
    kv_bytes: float = 0.0
    activation_bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.flops + other.flops,
            self.weight_bytes + other.weight_bytes,
            self.kv_bytes + other.kv_bytes,
            self.activation_bytes + other.activation_bytes,
        )


ShapeRule = Callable[[Op, Program], tuple[Buffer, ...]]
FlopRule = Callable[[Op, Program, StepShape], float]
KVRule = Callable[[Op, Program, StepShape], float]


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One row of the table.

    Attributes:
        inputs: names of the input buffers.
        weights: names of the weights; those that end in "?" may be absent.
        params: names of the parameters, all required.
        infer: the output buffers, from the inputs; raises ProgramError where they do not fit.
        flops: FLOPs in a step.
        kv_bytes: bytes of KV cache read and written in a step.
    """

    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    params: tuple[str, ...]
    infer: ShapeRule
    flops: FlopRule
    kv_bytes: KVRule


def _elements(op: Op, program: Program, shape: StepShape) -> int:
    buffer = program.buffers[op.inputs[0]]
    return shape.rows(buffer.rows) * buffer.width


def _per_element(flops: float) -> FlopRule:
    return lambda op, program, shape: flops * _elements(op, program, shape)


def _none(op: Op, program: Program, shape: StepShape) -> float:
    return 0.0


def _linear_flops(op: Op, program: Program, shape: StepShape) -> float:
    out, columns = program.weights[op.weights[0]].shape
    rows = shape.rows(program.buffers[op.inputs[0]].rows)
    bias = len(op.weights) - 1
    return float(rows * out * (2 * columns + bias))


def _rope_flops(op: Op, program: Program, shape: StepShape) -> float:
    rope = op.param("rope")
    assert isinstance(rope, RopeConfig)
    # A pair takes four multiplications and two additions.
    return float(6 * shape.tokens * op.integer("heads") * len(rope.frequencies))


def _attention_flops(op: Op, program: Program, shape: StepShape) -> float:
    pairs = sum(rows * _within(op, rows + past) for rows, past in shape.sequences)
    return float(4 * op.integer("num_heads") * program.kv.head_dim * pairs)


def _attention_kv_bytes(op: Op, program: Program, shape: StepShape) -> float:
    tokens = sum(_within(op, rows + past, extra=rows - 1) for rows, past in shape.sequences)
    return float(tokens * _kv_token_bytes(program))


def _append_kv_bytes(op: Op, program: Program, shape: StepShape) -> float:
    return float(shape.tokens * _kv_token_bytes(program))


def attended_pairs(rows: int, past: int, window: int | None) -> int:
    """Pairs of a row and a position that it attends to: what a causal kernel computes of the
    rectangle rows · (rows + past), for `rows` rows after `past` cached tokens."""
    last = rows + past
    pairs = rows * past + rows * (rows + 1) // 2
    if window is not None and last > window:
        first = max(window, past)  # rows from this position on see exactly `window` tokens
        beyond, below = last - window, first - window
        pairs -= (beyond * (beyond + 1) - below * (below + 1)) // 2
    return pairs


def _within(op: Op, tokens: int, extra: int = 0) -> int:
    """Of `tokens` cached tokens, those within the op's window, which is `extra` tokens longer."""
    window = op.param("window")
    return min(tokens, window + extra) if isinstance(window, int) else tokens


def _kv_token_bytes(program: Program) -> int:
    return program.kv.token_bytes


_ATTENTION_PARAMS = ("layer", "num_heads", "scale", "soft_cap", "window")

OPS: Mapping[OpKind, OpSpec] = MappingProxyType(
    {
        OpKind.EMBED: OpSpec((), ("weight",), (), shapes.embed, _none, _none),
        OpKind.SCALE: OpSpec(("x",), (), ("factor",), shapes.scale, _per_element(1), _none),
        OpKind.RMS_NORM: OpSpec(
            ("x",),
            ("weight",),
            ("eps", "weight_offset", "heads"),
            shapes.rms_norm,
            _per_element(4),
            _none,
        ),
        OpKind.LINEAR: OpSpec(("x",), ("weight", "bias?"), (), shapes.linear, _linear_flops, _none),
        OpKind.ROPE: OpSpec(("x",), (), ("rope", "heads"), shapes.rope, _rope_flops, _none),
        OpKind.KV_APPEND: OpSpec(
            ("k", "v"), (), ("layer",), shapes.kv_append, _none, _append_kv_bytes
        ),
        OpKind.ATTENTION: OpSpec(
            ("q",),
            (),
            _ATTENTION_PARAMS,
            shapes.attention,
            _attention_flops,
            _attention_kv_bytes,
        ),
        OpKind.GATED_ACTIVATION: OpSpec(
            ("gate", "up"), (), ("activation",), shapes.gated_activation, _per_element(5), _none
        ),
        OpKind.ADD: OpSpec(("a", "b"), (), (), shapes.add, _per_element(1), _none),
        OpKind.TAKE_ROWS: OpSpec(("x",), (), (), shapes.take_rows, _none, _none),
        OpKind.SOFT_CAP: OpSpec(("x",), (), ("cap",), shapes.soft_cap, _per_element(3), _none),
        OpKind.SAMPLE: OpSpec(("logits",), (), (), shapes.sample, _per_element(5), _none),
    }
)


def op_cost(op: Op, program: Program, shape: StepShape) -> Cost:
    """Arithmetic and traffic of `op` in a step of that shape."""
    spec = OPS[op.kind]
    return Cost(
        flops=spec.flops(op, program, shape),
        weight_bytes=_weight_traffic(op, program, shape),
        kv_bytes=spec.kv_bytes(op, program, shape),
        activation_bytes=_activation_traffic(op, program, shape),
    )


def step_cost(program: Program, shape: StepShape) -> Cost:
    """The sum over all ops of the program."""
    return sum((op_cost(op, program, shape) for op in program.ops), start=Cost())


def weight_bytes(weight: WeightInfo) -> int:
    """Bytes of a weight in its format."""
    *rows, columns = weight.shape
    size = weight.format.row_bytes(columns)
    for count in rows:
        size *= count
    return size


def _weight_traffic(op: Op, program: Program, shape: StepShape) -> float:
    """A weight is read once a step, whatever the number of rows; of a table only rows used."""
    weights = [program.weights[name] for name in op.weights]
    if op.kind is OpKind.EMBED:
        return float(shape.tokens * weights[0].format.row_bytes(weights[0].shape[1]))
    if not op.inputs or shape.rows(program.buffers[op.inputs[0]].rows) == 0:
        return 0.0
    return float(sum(map(weight_bytes, weights)))


def _activation_traffic(op: Op, program: Program, shape: StepShape) -> float:
    """Every operand is read or written once as f32; take_rows reads only what it takes."""
    buffers = [program.buffers[name] for name in (*op.inputs, *op.outputs)]
    if op.kind is OpKind.TAKE_ROWS:
        buffers = [program.buffers[op.outputs[0]]] * 2
    return 4.0 * sum(shape.rows(buffer.rows) * buffer.width for buffer in buffers)

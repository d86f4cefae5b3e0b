"""Shape rules: the output buffers of an op from its inputs, or a ProgramError that says why not.

Messages name no op: the verifier puts the op's index, kind and name in front.
"""

from __future__ import annotations

from typing import Never

from legato.errors import ProgramError
from legato.models.arch import RopeConfig
from legato.program.program import Buffer, Op, Program, RowKind, WeightInfo


def _fail(message: str) -> Never:
    raise ProgramError(message)


def _inputs(op: Op, program: Program) -> list[Buffer]:
    return [program.buffers[name] for name in op.inputs]


def _weight(op: Op, program: Program, index: int, dims: int) -> WeightInfo:
    weight = program.weights[op.weights[index]]
    if len(weight.shape) != dims:
        _fail(f"weight {weight.name} has shape {list(weight.shape)}, expected {dims} dimensions")
    return weight


def _count(op: Op, name: str, least: int) -> int:
    value = op.param(name)
    if not isinstance(value, int) or value < least:
        _fail(f"parameter {name} is {value!r}, expected an integer >= {least}")
    return value


def _number(op: Op, name: str, *, positive: bool = False) -> None:
    value = op.param(name)
    if not isinstance(value, int | float) or (positive and value <= 0):
        _fail(f"parameter {name} is {value!r}, expected a {'positive ' * positive}number")


def _head_width(buffer: Buffer, heads: int) -> int:
    width, rest = divmod(buffer.width, heads)
    if rest:
        _fail(f"{buffer.name} has width {buffer.width}, no multiple of its {heads} heads")
    return width


def _output(op: Op, rows: RowKind, width: int) -> tuple[Buffer, ...]:
    if len(op.outputs) != 1:
        _fail(f"{len(op.outputs)} outputs, expected 1")
    return (Buffer(op.outputs[0], rows, width),)


def _same(op: Op, source: Buffer) -> tuple[Buffer, ...]:
    return _output(op, source.rows, source.width)


def embed(op: Op, program: Program) -> tuple[Buffer, ...]:
    """Table [vocab, hidden] → [tokens, hidden]."""
    vocab, hidden = _weight(op, program, 0, 2).shape
    if vocab != program.vocab_size:
        _fail(f"the table has {vocab} rows, the vocabulary {program.vocab_size} tokens")
    return _output(op, "tokens", hidden)


def scale(op: Op, program: Program) -> tuple[Buffer, ...]:
    """[rows, width] → the same."""
    _number(op, "factor")
    return _same(op, _inputs(op, program)[0])


def rms_norm(op: Op, program: Program) -> tuple[Buffer, ...]:
    """[rows, width], weight [width] or [width / heads] → [rows, width]."""
    (x,) = _inputs(op, program)
    _number(op, "eps")
    _number(op, "weight_offset")
    expected = _head_width(x, max(_count(op, "heads", 0), 1))
    (length,) = _weight(op, program, 0, 1).shape
    if length != expected:
        _fail(f"the weight has {length} elements, the normalised span {expected}")
    return _same(op, x)


def linear(op: Op, program: Program) -> tuple[Buffer, ...]:
    """[rows, in], weight [out, in], bias [out] → [rows, out]."""
    (x,) = _inputs(op, program)
    out, columns = _weight(op, program, 0, 2).shape
    if columns != x.width:
        _fail(f"{x.name} has width {x.width}, the weight [{out}, {columns}]")
    if len(op.weights) > 1 and _weight(op, program, 1, 1).shape != (out,):
        _fail(f"the bias has shape {program.weights[op.weights[1]].shape}, expected ({out},)")
    return _output(op, x.rows, out)


def rope(op: Op, program: Program) -> tuple[Buffer, ...]:
    """[tokens, heads * head_dim] → the same."""
    (x,) = _inputs(op, program)
    table = op.param("rope")
    if not isinstance(table, RopeConfig):
        _fail(f"parameter rope is {table!r}, expected a RopeConfig")
    head_dim = _head_width(x, _count(op, "heads", 1))
    if 2 * len(table.frequencies) > head_dim:
        _fail(f"{len(table.frequencies)} frequencies do not fit into heads of {head_dim}")
    _expect_rows(x, "tokens")
    return _same(op, x)


def kv_append(op: Op, program: Program) -> tuple[Buffer, ...]:
    """k, v [tokens, num_kv_heads * head_dim] → nothing; they go into the cache."""
    _count(op, "layer", 0)
    expected = program.kv.num_kv_heads * program.kv.head_dim
    for x in _inputs(op, program):
        _expect_rows(x, "tokens")
        if x.width != expected:
            _fail(f"{x.name} has width {x.width}, the cache {expected} elements a token")
    return ()


def attention(op: Op, program: Program) -> tuple[Buffer, ...]:
    """q [tokens, num_heads * head_dim] → the same."""
    (q,) = _inputs(op, program)
    _count(op, "layer", 0)
    _number(op, "scale")
    heads = _count(op, "num_heads", 1)
    if op.param("soft_cap") is not None:
        _number(op, "soft_cap", positive=True)
    if op.param("window") is not None:
        _count(op, "window", 1)
    if heads % program.kv.num_kv_heads:
        _fail(f"{heads} query heads are no multiple of {program.kv.num_kv_heads} KV heads")
    if q.width != heads * program.kv.head_dim:
        _fail(f"{q.name} has width {q.width}, not {heads} heads of {program.kv.head_dim}")
    _expect_rows(q, "tokens")
    return _same(op, q)


def gated_activation(op: Op, program: Program) -> tuple[Buffer, ...]:
    """gate, up [rows, width] → [rows, width]."""
    if op.param("activation") not in ("silu", "gelu_tanh"):
        _fail(f"unknown activation {op.param('activation')!r}; known: silu, gelu_tanh")
    return add(op, program)


def add(op: Op, program: Program) -> tuple[Buffer, ...]:
    """Two buffers [rows, width] → the same."""
    a, b = _inputs(op, program)
    if (a.rows, a.width) != (b.rows, b.width):
        _fail(f"{a.name} [{a.rows}, {a.width}] and {b.name} [{b.rows}, {b.width}] differ")
    return _same(op, a)


def take_rows(op: Op, program: Program) -> tuple[Buffer, ...]:
    """[tokens, width] → [outputs, width]."""
    (x,) = _inputs(op, program)
    _expect_rows(x, "tokens")
    return _output(op, "outputs", x.width)


def soft_cap(op: Op, program: Program) -> tuple[Buffer, ...]:
    """[rows, width] → the same."""
    _number(op, "cap", positive=True)
    return _same(op, _inputs(op, program)[0])


def sample(op: Op, program: Program) -> tuple[Buffer, ...]:
    """Logits [outputs, n] of the first n ≤ vocab tokens → nothing; tokens are the result of the
    step."""
    (logits,) = _inputs(op, program)
    _expect_rows(logits, "outputs")
    if logits.width > program.vocab_size:
        _fail(f"{logits.name} has width {logits.width}, the vocabulary {program.vocab_size}")
    return ()


def _expect_rows(buffer: Buffer, rows: str) -> None:
    if buffer.rows != rows:
        _fail(f"{buffer.name} has a row per {buffer.rows}, expected {rows}")

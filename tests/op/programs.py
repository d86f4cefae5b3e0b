"""Programs of one op, whose operands are rows of f32 tables picked by token id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from legato.config import KVElement
from legato.program.builder import ProgramBuilder
from legato.program.kv import group_layers
from legato.program.program import KVLayout, OpKind, ParamValue, Program
from legato.tensor import Tensor
from model.tiny import f32_tensor

BLOCK = 16
MAX_CONTEXT = 512


def kv_layout(
    windows: Sequence[int | None] = (None,), heads: int = 1, dim: int = 16, dtype: KVElement = "f32"
) -> KVLayout:
    return KVLayout(group_layers(windows), BLOCK, heads, dim, dtype)


def one_op_program(
    kind: OpKind,
    operands: Sequence[np.ndarray],
    *,
    weights: Sequence[Tensor] = (),
    params: Mapping[str, ParamValue] | None = None,
) -> tuple[Program, dict[str, Tensor]]:
    """A program whose logits at token t are the op on row t of each operand table.

    Operands are [out width, width]: the output is the logits, so its width is the vocabulary.
    """
    tables = [f32_tensor(f"operand{i}.weight", table) for i, table in enumerate(operands)]
    vocab = len(operands[0])
    cached = f32_tensor("cached.weight", np.zeros((vocab, 16)))
    tensors = {tensor.name: tensor for tensor in (*tables, *weights, cached)}
    builder = ProgramBuilder(tensors, kv=kv_layout(), vocab_size=vocab, max_context=MAX_CONTEXT)
    inputs = [
        builder.add(OpKind.EMBED, f"operand{i}", weights=(t.name,)) for i, t in enumerate(tables)
    ]
    names = tuple(weight.name for weight in weights)
    x = builder.add(kind, "result", *inputs, weights=names, **(params or {}))
    _append(builder, 0, "cached.weight", "cached.weight")
    return _finish(builder, x), tensors


def embed_program(table: Tensor) -> tuple[Program, dict[str, Tensor]]:
    """Logits at token t are row t of a square `table` in any format."""
    cached = f32_tensor("cached.weight", np.zeros((table.shape[0], 16)))
    tensors = {tensor.name: tensor for tensor in (table, cached)}
    builder = ProgramBuilder(
        tensors, kv=kv_layout(), vocab_size=table.shape[0], max_context=MAX_CONTEXT
    )
    x = builder.add(OpKind.EMBED, "result", weights=(table.name,))
    _append(builder, 0, "cached.weight", "cached.weight")
    return _finish(builder, x), tensors


def head_program(rows: np.ndarray, head: np.ndarray) -> tuple[Program, dict[str, Tensor]]:
    """Logits at token t: head [vocab, width] times row t of `rows` [vocab, width]."""
    tensors = {
        name: f32_tensor(name, values)
        for name, values in (("rows", rows), ("head", head), ("cached", np.zeros((len(rows), 16))))
    }
    builder = ProgramBuilder(tensors, kv=kv_layout(), vocab_size=len(head), max_context=MAX_CONTEXT)
    x = builder.add(OpKind.EMBED, "hidden", weights=("rows",))
    _append(builder, 0, "cached", "cached")
    taken = builder.add(OpKind.TAKE_ROWS, "taken", x)
    logits = builder.add(OpKind.LINEAR, "logits", taken, weights=("head",))
    builder.add(OpKind.SAMPLE, "sample", logits)
    return builder.finish(), tensors


def attention_program(
    layers: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    kv: KVLayout,
    *,
    num_heads: int,
    scale: float,
    soft_cap: float | None = None,
) -> tuple[Program, dict[str, Tensor]]:
    """Logits at token t: the sum over layers of attention with tables (q, k, v) at row t."""
    tensors = {
        name: f32_tensor(name, table)
        for i, tables in enumerate(layers)
        for name, table in zip((f"q{i}", f"k{i}", f"v{i}"), tables, strict=True)
    }
    vocab = len(layers[0][0])
    builder = ProgramBuilder(tensors, kv=kv, vocab_size=vocab, max_context=MAX_CONTEXT)
    windows = {layer: group.window for group in kv.groups for layer in group.layers}
    total = ""
    for i in range(len(layers)):
        _append(builder, i, f"k{i}", f"v{i}")
        q = builder.add(OpKind.EMBED, f"q{i}_rows", weights=(f"q{i}",))
        x = builder.add(
            OpKind.ATTENTION,
            f"attention{i}",
            q,
            layer=i,
            num_heads=num_heads,
            scale=scale,
            soft_cap=soft_cap,
            window=windows[i],
        )
        total = builder.add(OpKind.ADD, f"sum{i}", total, x) if total else x
    return _finish(builder, total), tensors


def _append(builder: ProgramBuilder, layer: int, k_weight: str, v_weight: str) -> None:
    k = builder.add(OpKind.EMBED, f"k{layer}_rows", weights=(k_weight,))
    v = builder.add(OpKind.EMBED, f"v{layer}_rows", weights=(v_weight,))
    builder.add(OpKind.KV_APPEND, f"append{layer}", k, v, layer=layer)


def _finish(builder: ProgramBuilder, x: str) -> Program:
    taken = builder.add(OpKind.TAKE_ROWS, "taken", x)
    builder.add(OpKind.SAMPLE, "sample", taken)
    return builder.finish()

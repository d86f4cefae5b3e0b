"""The printed form of a program: its ops, and what one decoded token costs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from math import prod

from legato.models.arch import RopeConfig
from legato.program.ops import Cost, StepShape, op_cost, step_cost, weight_bytes
from legato.program.program import Op, ParamValue, Program, RowKind
from legato.program.quantities import format_bytes, format_quantity, format_ranges

_LAYER = re.compile(r"layers\.(\d+)\.")
_COST_COLUMN = 104  # where the costs begin
_ROWS: dict[RowKind, str] = {"tokens": "T", "outputs": "R"}


def format_program(program: Program, *, depth: int, all_layers: bool = False) -> str:
    """A line per op: result, kind, operands, weights, parameters, and its cost.

    Costs are of one token decoded after `depth` cached ones. T is the number of token rows, R of
    sampled rows. Layers that differ only in their numbers are shown once unless `all_layers`.
    """
    shape = _decode_step(depth)
    lines = [f"One token after {depth:,} cached tokens: FLOPs, bytes of weights and KV."]
    for title, ops in _sections(program, all_layers):
        total = sum((op_cost(op, program, shape) for op in ops), start=Cost())
        lines += ["", f"{title:<{_COST_COLUMN}} {_format_cost(total)}"] if title else [""]
        lines += [_format_op(op, program, shape) for op in ops]
    total = step_cost(program, shape)
    return "\n".join([*lines, "", f"{'whole program':<{_COST_COLUMN}} {_format_cost(total)}"])


def format_summary(program: Program, *, depth: int) -> str:
    """Size, formats, KV cache and the cost of one token decoded after `depth` cached ones."""
    cost = step_cost(program, _decode_step(depth))
    kv = program.kv
    per_token = kv.block_bytes * len(kv.groups) / kv.block_size
    rows = {
        "ops": f"{len(program.ops)} over {len(program.buffers)} buffers",
        "parameters": format_quantity(sum(prod(w.shape) for w in program.weights.values())),
        "weights": _format_weights(program),
        "KV cache": f"{format_bytes(per_token)} a token, {_format_groups(program)}",
        "context": f"{program.max_context:,} tokens",
        f"token at {depth:,}": (
            f"{format_quantity(cost.flops)}FLOP, {format_bytes(cost.weight_bytes)} of weights, "
            f"{format_bytes(cost.kv_bytes)} of KV"
        ),
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _decode_step(depth: int) -> StepShape:
    return StepShape(sequences=((1, depth),), outputs=1)


def _sections(program: Program, all_layers: bool) -> Iterator[tuple[str, list[Op]]]:
    """Ops in order with a title: each layer, or each kind of layer, and what lies between."""
    runs = [
        (layer, list(ops)) for layer, ops in groupby(program.ops, key=lambda op: _layer_of(op.name))
    ]
    alike: dict[object, list[int]] = defaultdict(list)
    for layer, ops in runs:
        if layer is not None:
            alike[layer if all_layers else _signature(ops, program)].append(layer)
    for layer, ops in runs:
        if layer is None:
            yield "", ops
            continue
        layers = alike[layer if all_layers else _signature(ops, program)]
        if layer == layers[0]:
            yield _layer_title(layers), ops


def _layer_title(layers: Sequence[int]) -> str:
    if len(layers) == 1:
        return f"layer {layers[0]}"
    return f"layer {layers[0]}; layers {format_ranges(layers[1:])} are like it"


def _layer_of(name: str) -> int | None:
    match = _LAYER.match(name)
    return int(match[1]) if match else None


def _signature(ops: Sequence[Op], program: Program) -> tuple[object, ...]:
    """Equal for layers whose lines, but for the layer's number, would read the same."""
    return tuple(
        (
            op.kind,
            _local(op.name),
            tuple(_format_operand(name, op) for name in op.inputs),
            tuple((program.weights[w].shape, program.weights[w].format) for w in op.weights),
            tuple(pair for pair in op.params if pair[0] != "layer"),
        )
        for op in ops
    )


def _local(name: str) -> str:
    return _LAYER.sub("", name)


def _format_op(op: Op, program: Program, shape: StepShape) -> str:
    result = "".join(
        f" [{_ROWS[program.buffers[name].rows]}, {program.buffers[name].width}]"
        for name in op.outputs
    )
    left = f"  {_local(op.name) + result:<34} {_format_call(op):<38} {_format_matrix(op, program)}"
    return f"{left:<{_COST_COLUMN}} {_format_cost(op_cost(op, program, shape))}".rstrip()


def _format_call(op: Op) -> str:
    operands = [_format_operand(name, op) for name in op.inputs]
    params = [
        f"{name}={_format_param(value)}"
        for name, value in op.params
        if name != "layer" and value  # None and zero: without it
    ]
    return f"{op.kind}({', '.join(operands + params)})"


def _format_operand(name: str, op: Op) -> str:
    """What comes from another layer is "x": the residual stream."""
    return _local(name) if _layer_of(name) == _layer_of(op.name) else "x"


def _format_param(value: ParamValue) -> str:
    if isinstance(value, RopeConfig):
        return f"{value.style}/{2 * len(value.frequencies)}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _format_matrix(op: Op, program: Program) -> str:
    """The weight that matters, and whether a bias comes with it."""
    if not op.weights:
        return ""
    weight = program.weights[op.weights[0]]
    bias = " + bias" if len(op.weights) > 1 else ""
    return f"{weight.format.label} {list(weight.shape)}{bias}"


def _format_cost(cost: Cost) -> str:
    traffic = cost.weight_bytes + cost.kv_bytes
    flops = f"{format_quantity(cost.flops)}FLOP" if cost.flops else ""
    return f"{flops:>11} {format_bytes(traffic) if traffic else '':>9}"


def _format_weights(program: Program) -> str:
    sizes: dict[str, int] = defaultdict(int)
    for weight in program.weights.values():
        sizes[weight.format.label] += weight_bytes(weight)
    parts = sorted(sizes.items(), key=lambda item: -item[1])
    formats = ", ".join(f"{label} {format_bytes(size)}" for label, size in parts)
    return f"{format_bytes(sum(sizes.values()))}: {formats}"


def _format_groups(program: Program) -> str:
    groups = program.kv.groups
    kinds = [f"{len(groups)} x {program.kv.layers_per_block} layers"]
    windows = sorted({group.window for group in groups if group.window is not None})
    kinds += [f"window {window:,}" for window in windows]
    return ", ".join(kinds)

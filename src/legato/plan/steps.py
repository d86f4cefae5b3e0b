"""What a step of a program takes on a machine, by its roofline."""

from __future__ import annotations

from legato.plan.hardware import Hardware
from legato.program.ops import StepShape, step_cost, weight_bytes
from legato.program.program import OpKind, Program


def step_s(program: Program, hardware: Hardware, shape: StepShape) -> float:
    """Seconds of one step: reading or computing, whichever takes longer (Williams et al. 2009,
    "Roofline"), and what each layer takes besides. Activations stay on the chips."""
    cost = step_cost(program, shape)
    reading = (cost.weight_bytes + cost.kv_bytes) / (hardware.bandwidth * hardware.efficiency)
    computing = cost.flops / (hardware.peak_flops * hardware.compute_efficiency)
    return max(reading, computing) + num_layers(program) * hardware.layer_s


def decode_s(program: Program, hardware: Hardware, *, batch: int, rows: int, context: int) -> float:
    """Seconds of a step in which each of `batch` sequences with `context` cached tokens computes
    and samples `rows` rows."""
    shape = StepShape(((rows, context),) * batch, batch * rows)
    return step_s(program, hardware, shape)


def num_layers(program: Program) -> int:
    """Layers of `program`: each has one attention."""
    return sum(op.kind is OpKind.ATTENTION for op in program.ops)


def weights_bytes(program: Program) -> int:
    """Bytes of all weights; a tied head counts once."""
    return sum(map(weight_bytes, program.weights.values()))


def kv_bytes(program: Program, tokens: int) -> int:
    """Bytes of keys and values of `tokens` cached tokens, in whole blocks of each group."""
    kv = program.kv
    return -(-tokens // kv.block_size) * kv.block_bytes * len(kv.groups)

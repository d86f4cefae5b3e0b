"""Time, GB/s and GMAC/s of every kind of op in a step, beside the machine's two ceilings.

    python benchmarks/op.py [--model NAME] [--decode 1 4 8 32] [--prefill 512] [--verify 4]
        [--depth 512]

Bytes are those of weights, and of keys and values in attention; multiply-adds are those of linear
layers and of attention. Other ops show their time alone. The time of an op ends when all threads
have done their part. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from legato import _native
from legato.assemble import build_model_program
from legato.backends.base import StepInput
from legato.backends.native.backend import NativeBackend
from legato.bench.machine import Machine, measure_machine
from legato.config import EngineConfig, KVDType, SimdPath
from legato.models.catalogue import DEFAULT_MODEL
from legato.models.hub import resolve_model
from legato.models.load import load_model
from legato.program.ops import StepShape, attended_pairs, op_cost
from legato.program.program import Op, OpKind, Program

WARM_UP_STEPS = 3


@dataclass(frozen=True, slots=True)
class OpFigures:
    """All ops of one kind and size in one step."""

    op: str
    count: int
    microseconds: float
    gb_s: float
    gmac_s: float


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments()
    model = load_model(resolve_model(arguments.model))
    config = EngineConfig(
        num_threads=arguments.threads,
        precision=arguments.precision,
        kv_dtype=arguments.kv_dtype,
        simd=arguments.simd,
    )
    program = build_model_program(model, config)
    machine = measure_machine(arguments.threads)
    steps = make_steps(program, arguments)
    backend = NativeBackend(program, model.weights, config)
    allocate_kv(backend, max(int(step.block_tables.max()) + 1 for step in steps.values()))
    found: dict[str, Any] = {}
    for name, step in steps.items():
        figures = measure(backend, program, step, arguments.steps)
        print_table(name, figures, machine)
        found[name] = [asdict(op) for op in figures]
    backend.close()
    print(json.dumps({"machine": machine.to_json(), "steps": found}))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--precision", default="balanced", choices=["fast", "balanced", "exact"])
    parser.add_argument("--simd", default="auto", choices=get_args(SimdPath))
    parser.add_argument("--kv-dtype", default=EngineConfig().kv_dtype, choices=get_args(KVDType))
    parser.add_argument("--threads", type=int, default=0, help="0: all usable")
    parser.add_argument("--decode", type=int, nargs="*", default=[1, 4, 8, 32], help="batch sizes")
    parser.add_argument("--prefill", type=int, nargs="*", default=[512], help="prompt lengths")
    parser.add_argument("--verify", type=int, nargs="*", default=[], help="rows of one sequence")
    parser.add_argument("--depth", type=int, default=512, help="tokens cached before a decode step")
    parser.add_argument("--steps", type=int, default=10, help="steps that are averaged")
    return parser.parse_args()


def allocate_kv(backend: NativeBackend, blocks: int) -> None:
    """A pool that was written to: all of what never was is one page of zeros, in cache."""
    backend.allocate_kv(blocks)
    backend.copy_blocks([0] * blocks, range(blocks))


def make_steps(program: Program, arguments: argparse.Namespace) -> dict[str, StepInput]:
    """One step for every batch size and prompt length, by its title."""
    steps = {
        f"decode, batch {batch}, depth {arguments.depth}": make_step(
            program, batch, 1, arguments.depth
        )
        for batch in arguments.decode
    }
    for rows in arguments.verify:
        title = f"verify {rows} rows, depth {arguments.depth}"
        steps[title] = make_step(program, 1, rows, arguments.depth)
    for length in arguments.prefill:
        steps[f"prefill, {length} tokens"] = make_step(program, 1, length, 0)
    return steps


def make_step(program: Program, sequences: int, rows: int, depth: int) -> StepInput:
    """`sequences` sequences of `depth` cached tokens, each with `rows` more."""
    blocks = -(-(depth + rows) // program.kv.block_size)
    groups = len(program.kv.groups)
    tables = np.arange(groups * sequences * blocks, dtype=np.int32)
    positions = np.arange(depth, depth + rows, dtype=np.int32)
    ids = np.random.default_rng(20).integers(0, program.vocab_size, sequences * rows)
    return StepInput(
        token_ids=ids.astype(np.int32),
        positions=np.tile(positions, sequences),
        query_starts=np.arange(0, sequences * rows + 1, rows, dtype=np.int32),
        kv_lengths=np.full(sequences, depth + rows, np.int32),
        block_tables=tables.reshape(groups, sequences, blocks),
        output_rows=np.arange(rows - 1, sequences * rows, rows, dtype=np.int32),
        want_logits=True,
    )


def measure(
    backend: NativeBackend, program: Program, step: StepInput, steps: int
) -> list[OpFigures]:
    """Run the step and average its profile, ops in the order of their first appearance."""
    for _ in range(WARM_UP_STEPS):
        backend.run(step)
    backend.start_profile()
    for _ in range(steps):
        backend.run(step)
    groups: dict[tuple[str, int], list[_native.InstructionProfile]] = {}
    for instruction in backend.profile():
        groups.setdefault((instruction.kind, instruction.weight_bytes), []).append(instruction)
    return [figures_of(members, program, step, steps) for members in groups.values()]


def figures_of(
    members: list[_native.InstructionProfile], program: Program, step: StepInput, steps: int
) -> OpFigures:
    """Instructions that do the same, together."""
    first = members[0]
    if first.kind == "attention":
        return attention_figures(members, program, step, steps)
    rows = len(step.token_ids) if first.rows is _native.Rows.TOKENS else len(step.output_rows)
    nanoseconds = sum(member.nanoseconds for member in members) / steps
    name = f"{first.kind}, {first.weight_bytes >> 10} KiB" if first.weight_bytes else first.kind
    return OpFigures(
        op=name,
        count=len(members),
        microseconds=nanoseconds / 1e3,
        gb_s=len(members) * first.weight_bytes / nanoseconds,
        gmac_s=len(members) * first.weights * rows / nanoseconds,
    )


def attention_figures(
    members: list[_native.InstructionProfile], program: Program, step: StepInput, steps: int
) -> OpFigures:
    """Bytes of keys and values read, multiply-adds of what causal attention has to compute."""
    rows = np.diff(step.query_starts)
    parts = [(int(n), int(past)) for n, past in zip(rows, step.kv_lengths - rows, strict=True)]
    shape = StepShape(sequences=tuple(parts), outputs=len(step.output_rows))
    ops = [op for op in program.ops if op.kind is OpKind.ATTENTION]
    read = sum(op_cost(op, program, shape).kv_bytes for op in ops)
    multiplied = (
        2
        * program.kv.head_dim
        * sum(
            op.integer("num_heads") * attended_pairs(n, past, window_of(op))
            for op in ops
            for n, past in parts
        )
    )
    nanoseconds = sum(member.nanoseconds for member in members) / steps
    return OpFigures(
        op="attention",
        count=len(members),
        microseconds=nanoseconds / 1e3,
        gb_s=read / nanoseconds,
        gmac_s=multiplied / nanoseconds,
    )


def window_of(op: Op) -> int | None:
    """The sliding window of an attention op, in tokens."""
    window = op.param("window")
    return window if isinstance(window, int) else None


def print_table(title: str, figures: Iterable[OpFigures], machine: Machine) -> None:
    """One step: ops down, time and the share of each ceiling across."""
    table = Table(
        "op", "times", "µs", "each µs", "GB/s", "of DRAM", "GMAC/s", "of int8", title=title
    )
    table.columns[0].no_wrap = True
    total = 0.0
    for op in figures:
        total += op.microseconds
        table.add_row(
            op.op,
            str(op.count),
            f"{op.microseconds:,.1f}",
            f"{op.microseconds / op.count:,.2f}",
            *rate(op.gb_s, machine.bandwidth_gb_s),
            *rate(op.gmac_s, machine.int8_gmac_s),
        )
    table.add_row("step", "", f"{total:,.1f}")
    Console().print(table)


def rate(value: float, ceiling: float) -> tuple[str, str]:
    """A rate and its share of the ceiling; nothing where there are no weights."""
    return (f"{value:.1f}", f"{value / ceiling:.0%}") if value else ("", "")


if __name__ == "__main__":
    main()

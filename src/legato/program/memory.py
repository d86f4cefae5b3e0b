"""Where each activation buffer lies in one arena, so that buffers share memory in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from legato.program.program import Program

ALIGNMENT = 64  # bytes; a cache line and a 512-bit vector


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Byte offset of every buffer in an arena of `total_bytes`."""

    offsets: Mapping[str, int]
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A buffer is written by op `first` and read last by op `last`, both included."""

    first: int
    last: int


def lifetimes(program: Program) -> dict[str, Lifetime]:
    """When each buffer is live, in op indices, in order of definition."""
    found: dict[str, Lifetime] = {}
    for index, op in enumerate(program.ops):
        for name in op.inputs:
            found[name] = Lifetime(found[name].first, index)
        for name in op.outputs:
            found[name] = Lifetime(index, index)
    return found


def plan_memory(program: Program, max_tokens: int, max_outputs: int) -> MemoryPlan:
    """Place the f32 buffers of a step of at most so many token and output rows.

    First fit in order of definition: a buffer takes the lowest gap between those that are live
    when it is written. Layers repeat, so every layer finds the gaps of the one before.
    """
    rows = {"tokens": max_tokens, "outputs": max_outputs}
    offsets: dict[str, int] = {}
    live: dict[str, tuple[int, int, int]] = {}  # name → begin, end, last op
    total = 0
    for name, lifetime in lifetimes(program).items():
        buffer = program.buffers[name]
        live = {n: span for n, span in live.items() if span[2] >= lifetime.first}
        size = _aligned(4 * rows[buffer.rows] * buffer.width)
        offset = _first_gap([(begin, end) for begin, end, _ in live.values()], size)
        live[name] = (offset, offset + size, lifetime.last)
        offsets[name] = offset
        total = max(total, offset + size)
    return MemoryPlan(offsets, total)


def _first_gap(taken: list[tuple[int, int]], size: int) -> int:
    offset = 0
    for begin, end in sorted(taken):
        if begin - offset >= size:
            break
        offset = max(offset, end)
    return offset


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT

"""When each activation buffer of a program is needed, so that it can be let go."""

from __future__ import annotations

from dataclasses import dataclass

from legato.program.program import Program


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

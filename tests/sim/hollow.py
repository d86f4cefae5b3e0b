"""The program of a model that is not there: real sizes, no weights. Enough to simulate it."""

from __future__ import annotations

from legato.plan import architectures
from legato.program.program import Program
from legato.tensor import WeightFormat


def hollow_program() -> Program:
    """SmolLM2-135M in 4-bit blocks, with 8192 tokens of context."""
    return architectures.hollow_program("smollm2-135m", WeightFormat.Q4_1, "f16")

"""How long prompts and answers are: whole numbers ≥ 1, as pure functions of a seed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, repeat
from pathlib import Path
from typing import Protocol

import numpy as np

from legato.bench.arrivals import WorkloadError


class Lengths(Protocol):
    """A distribution of lengths."""

    def stream(self, generator: np.random.Generator) -> Iterator[int]:
        """Lengths without end."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same."""

    length: int

    def stream(self, generator: np.random.Generator) -> Iterator[int]:
        """The same length again and again."""
        return repeat(self.length)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every whole number of low..high, both included, equally likely."""

    low: int
    high: int

    def stream(self, generator: np.random.Generator) -> Iterator[int]:
        """Independent lengths."""
        while True:
            yield int(generator.integers(self.low, self.high + 1))


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Lognormal with the given mean; `sigma` is the standard deviation of its logarithm."""

    mean: float
    sigma: float

    def stream(self, generator: np.random.Generator) -> Iterator[int]:
        """Independent lengths, rounded."""
        location = math.log(self.mean) - self.sigma**2 / 2
        while True:
            yield max(1, round(generator.lognormal(location, self.sigma)))


@dataclass(frozen=True, slots=True)
class Listed:
    """The lengths of a file in their order, from the start again when they run out."""

    lengths: tuple[int, ...]

    def stream(self, generator: np.random.Generator) -> Iterator[int]:
        """As listed, in a circle."""
        return cycle(self.lengths)


def parse_lengths(text: str, field: str) -> Lengths:
    """`200`, `uniform:100-300`, `lognormal:MEAN,SIGMA` or `file:PATH` (JSONL, its `field`).

    Raises:
        WorkloadError: it is none of these, or a length is below 1.
    """
    kind, _, argument = text.partition(":")
    try:
        if not argument:
            return Fixed(_length(int(kind)))
        if kind == "uniform":
            low, high = (_length(int(bound)) for bound in argument.split("-"))
            return Uniform(min(low, high), max(low, high))
        if kind == "lognormal":
            mean, sigma = (float(part) for part in argument.split(","))
            return Lognormal(_positive(mean), _positive(sigma))
        if kind == "file":
            return Listed(read_lengths(Path(argument), field))
    except ValueError as error:
        raise WorkloadError(f"cannot take {text!r} as lengths: {error}") from error
    raise WorkloadError(
        f"cannot take {text!r} as lengths: give N, uniform:LOW-HIGH, lognormal:MEAN,SIGMA "
        "or file:PATH"
    )


def read_lengths(path: Path, field: str) -> tuple[int, ...]:
    """`field` of every line of a JSONL file."""
    try:
        records = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        lengths = tuple(_length(int(record[field])) for record in records)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkloadError(f"cannot read {field!r} from every line of {path}: {error}") from error
    if not lengths:
        raise WorkloadError(f"{path} has no lines")
    return lengths


def _length(value: int) -> int:
    if value < 1:
        raise ValueError(f"a length must be at least 1, not {value}")
    return value


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError(f"must be positive, not {value}")
    return value

"""When requests arrive: seconds from the start of a run, as pure functions of a seed.

An open loop sends at these times whatever the server does, so that queueing shows. A closed loop
(`Users`) sends only when an answer has come, which hides queueing (coordinated omission).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

import numpy as np

from legato.errors import LegatoError


class WorkloadError(LegatoError):
    """A workload is not well described, or its file cannot be read."""


class Arrivals(Protocol):
    """An open loop."""

    def times(self, generator: np.random.Generator) -> Iterator[float]:
        """Arrival times in seconds, ascending, without end unless the process has one."""
        ...


@dataclass(frozen=True, slots=True)
class Gamma:
    """Independent gamma-distributed gaps. `rate` requests/s, `cv` coefficient of variation.

    cv = 1 is a Poisson process, cv > 1 comes in bursts, cv < 1 is more regular than Poisson.
    """

    rate: float
    cv: float = 1.0

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.cv <= 0:
            raise WorkloadError(f"rate and cv must be positive, not {self.rate} and {self.cv}")

    def times(self, generator: np.random.Generator) -> Iterator[float]:
        """Gaps of mean 1/rate and standard deviation cv/rate, summed."""
        shape = self.cv**-2
        now = 0.0
        while True:
            now += float(generator.gamma(shape, 1 / (shape * self.rate)))
            yield now


def poisson(rate: float) -> Gamma:
    """Arrivals without memory: exponential gaps."""
    return Gamma(rate)


@dataclass(frozen=True, slots=True)
class Constant:
    """One request every 1/rate seconds, the first at once."""

    rate: float

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise WorkloadError(f"the rate must be positive, not {self.rate}")

    def times(self, generator: np.random.Generator) -> Iterator[float]:
        """0, 1/rate, 2/rate, …"""
        return (number / self.rate for number in count())


@dataclass(frozen=True, slots=True)
class Recorded:
    """Arrivals of a trace: seconds, the first at 0."""

    seconds: tuple[float, ...]

    def times(self, generator: np.random.Generator) -> Iterator[float]:
        """As recorded."""
        return iter(self.seconds)


@dataclass(frozen=True, slots=True)
class Users:
    """A closed loop: each of `count` users asks again when the answer has come."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise WorkloadError(f"a closed loop needs at least one user, not {self.count}")


def read_timestamps(path: Path) -> Recorded:
    """One timestamp in seconds a line, in any order and from any origin.

    In a file named .jsonl it is the field `timestamp` of each line, ascending, so that the same
    file can give the lengths of the requests.
    """
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        if path.suffix == ".jsonl":
            stamps = [float(json.loads(line)["timestamp"]) for line in lines]
        else:
            stamps = sorted(float(line) for line in lines)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkloadError(f"cannot read timestamps from {path}: {error!r}") from error
    if not stamps:
        raise WorkloadError(f"{path} has no timestamps")
    if stamps != sorted(stamps):
        raise WorkloadError(f"the timestamps in {path} go back; sort its lines by time")
    return Recorded(tuple(stamp - stamps[0] for stamp in stamps))


def parse_arrivals(text: str, rate: float) -> Arrivals | Users:
    """`poisson`, `constant`, `gamma:CV`, `trace:FILE` or `closed:USERS`.

    Raises:
        WorkloadError: it is none of these.
    """
    kind, _, argument = text.partition(":")
    try:
        if kind in ("poisson", "constant") and not argument:
            return poisson(rate) if kind == "poisson" else Constant(rate)
        if kind == "gamma":
            return Gamma(rate, float(argument))
        if kind == "trace":
            return read_timestamps(Path(argument))
        if kind == "closed":
            return Users(int(argument))
    except ValueError as error:
        raise WorkloadError(f"--arrivals {text}: {error}") from error
    raise WorkloadError(
        f"--arrivals {text}: give poisson, constant, gamma:CV, trace:FILE or closed:USERS"
    )

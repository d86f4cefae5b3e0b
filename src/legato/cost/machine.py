"""What a machine takes for the work of a step, as measured: the coefficients of the cost model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

VERSION = 1
"""Of the profile's meaning: a profile of another version is measured again."""


@dataclass(frozen=True, slots=True)
class LinearPoint:
    """`rows` rows take `ns_per_weight` nanoseconds for each weight, once it was read."""

    rows: int
    ns_per_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineProfile:
    """Two ceilings of a machine, and what one backend achieves on it. No coefficient is negative.

    Reading and computing add up: one thread does both, and what overlaps is in the coefficients.

    Attributes:
        bandwidth: bytes a second from DRAM, the ceiling.
        int8_macs: int8 multiply-adds a second, the ceiling.
        op_ns: of each op of the program, whatever the rows: launching, barriers, cold code.
        weight_ns_per_byte: of reading weights once a step.
        token_rows: of all row by row work of token rows, at some numbers of rows: linear in
            between, from (0, 0) on, and beyond the last with the slope before it.
        output_rows: likewise of sampled rows, whose weights mostly have another format.
        attention_ns_per_flop: of the pairs that are really attended to.
        kv_ns_per_byte: of reading and writing keys and values.
    """

    bandwidth: float
    int8_macs: float
    op_ns: float
    weight_ns_per_byte: float
    token_rows: tuple[LinearPoint, ...]
    output_rows: tuple[LinearPoint, ...]
    attention_ns_per_flop: float
    kv_ns_per_byte: float

    def __post_init__(self) -> None:
        for points in (self.token_rows, self.output_rows):
            rows = [point.rows for point in points]
            if not rows or rows[0] < 1 or rows != sorted(set(rows)):
                raise ValueError(f"points must have ascending rows from 1 on, not {rows}")
        for name, value in _numbers(self):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be finite and not negative, not {value}")

    def times_as_fast(self, factor: float) -> MachineProfile:
        """The profile of a machine that does everything `factor` > 0 times as fast."""
        return MachineProfile(
            bandwidth=self.bandwidth * factor,
            int8_macs=self.int8_macs * factor,
            op_ns=self.op_ns / factor,
            weight_ns_per_byte=self.weight_ns_per_byte / factor,
            token_rows=_faster(self.token_rows, factor),
            output_rows=_faster(self.output_rows, factor),
            attention_ns_per_flop=self.attention_ns_per_flop / factor,
            kv_ns_per_byte=self.kv_ns_per_byte / factor,
        )

    def to_json(self) -> str:
        """One JSON object; `from_json` reads it back without loss."""
        return json.dumps({"version": VERSION, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> MachineProfile:
        """Raises ValueError where `text` is not a whole profile of this version."""
        try:
            document = json.loads(text)
            if document.pop("version") != VERSION:
                raise ValueError(f"this profile is not of version {VERSION}; calibrate again")
            for name in _CURVES:
                document[name] = tuple(LinearPoint(**point) for point in document[name])
            return cls(**document)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a machine profile: {error}") from error


_CURVES = ("token_rows", "output_rows")


def _faster(points: tuple[LinearPoint, ...], factor: float) -> tuple[LinearPoint, ...]:
    return tuple(LinearPoint(point.rows, point.ns_per_weight / factor) for point in points)


def _numbers(profile: MachineProfile) -> list[tuple[str, Any]]:
    plain = [(f.name, getattr(profile, f.name)) for f in fields(profile) if f.name not in _CURVES]
    points = (*profile.token_rows, *profile.output_rows)
    return plain + [("ns_per_weight", point.ns_per_weight) for point in points]


DEFAULT_PROFILE = MachineProfile(
    bandwidth=36e9,
    int8_macs=460e9,
    op_ns=2000.0,
    weight_ns_per_byte=0.03,
    token_rows=(
        LinearPoint(4, 0.006),
        LinearPoint(8, 0.023),
        LinearPoint(9, 0.034),
        LinearPoint(32, 0.16),
        LinearPoint(512, 3.1),
    ),
    output_rows=(LinearPoint(8, 0.02), LinearPoint(32, 0.14)),
    attention_ns_per_flop=0.006,
    kv_ns_per_byte=0.025,
)
"""Two threads of a server CPU with AVX-512 VNNI: used until this machine is calibrated."""

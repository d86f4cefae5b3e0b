"""How long a step will take: the op table's work, folded once, times the machine's coefficients.

Work outside linears and attention is below 1 % of the FLOPs and goes with the rows; its time is in
the coefficients of the rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass

from legato.cost.machine import LinearPoint, MachineProfile
from legato.program.ops import Cost, StepShape, attended_pairs, op_cost
from legato.program.program import OpKind, Program

_ONE_TOKEN = StepShape(((1, 0),), 0)
_ONE_OUTPUT = StepShape((), 1)


@dataclass(frozen=True, slots=True)
class RowWork:
    """Weights of the linears over one kind of rows: bytes read once, multiplied for every row."""

    weight_bytes: float
    weights: float


@dataclass(frozen=True, slots=True)
class AttentionWork:
    """All attention ops of one window: per attended pair, and per cached token they read."""

    window: int | None
    flops_per_pair: float
    bytes_per_token: float


@dataclass(frozen=True, slots=True)
class ProgramWork:
    """A program's ops by what their cost depends on, folded out of the op table.

    Attributes:
        tokens, outputs: of ops over token rows, and over sampled rows.
        token_bytes: per token row: embedding rows read, keys and values written.
        attention: one entry a window.
    """

    num_ops: int
    tokens: RowWork
    outputs: RowWork
    token_bytes: float
    attention: tuple[AttentionWork, ...]

    @classmethod
    def of(cls, program: Program) -> ProgramWork:
        """Ask the op table what one row costs in each op."""
        token, output = _row_work(program, _ONE_TOKEN), _row_work(program, _ONE_OUTPUT)
        embedded = _total(program, OpKind.EMBED).weight_bytes
        written = _total(program, OpKind.KV_APPEND).kv_bytes
        return cls(len(program.ops), token, output, embedded + written, _attention(program))


@dataclass(slots=True)
class StepWork:
    """The amounts of a step that the coefficients of a profile are multiplied with.

    Nobody changes it; it is not frozen because every step makes some.
    """

    tokens: int
    outputs: int
    weight_bytes: float
    attention_flops: float
    kv_bytes: float


def step_work(work: ProgramWork, shape: StepShape) -> StepWork:
    """The work of one step of that shape."""
    tokens, outputs = shape.tokens, shape.outputs
    pair_flops = 0.0
    kv_bytes = tokens * work.token_bytes
    for part in work.attention:
        pairs, read = _attended(shape.sequences, part.window)
        pair_flops += pairs * part.flops_per_pair
        kv_bytes += read * part.bytes_per_token
    return StepWork(
        tokens=tokens,
        outputs=outputs,
        weight_bytes=work.tokens.weight_bytes + (work.outputs.weight_bytes if outputs else 0.0),
        attention_flops=pair_flops,
        kv_bytes=kv_bytes,
    )


class StepCost:
    """Predicts step times of one program on one machine. Immutable and cheap to ask."""

    def __init__(self, program: Program, profile: MachineProfile) -> None:
        self.profile = profile
        self.work = ProgramWork.of(program)
        self._token_rows = RowTime(profile.token_rows)
        self._output_rows = RowTime(profile.output_rows)

    def predict_ns(self, shape: StepShape) -> int:
        """Nanoseconds of a step of that shape, at least one."""
        return max(1, round(self.time_ns(step_work(self.work, shape))))

    def time_ns(self, step: StepWork) -> float:
        """Nanoseconds of a step with that work."""
        profile = self.profile
        return (
            self.work.num_ops * profile.op_ns
            + step.weight_bytes * profile.weight_ns_per_byte
            + self.rows_ns(step.tokens, step.outputs)
            + step.attention_flops * profile.attention_ns_per_flop
            + step.kv_bytes * profile.kv_ns_per_byte
        )

    def rows_ns(self, tokens: int, outputs: int) -> float:
        """Of it, what grows with `tokens` token rows and `outputs` sampled rows."""
        return self.work.tokens.weights * self._token_rows.ns_per_weight(
            tokens
        ) + self.work.outputs.weights * self._output_rows.ns_per_weight(outputs)


class RowTime:
    """Interpolates the points of a profile."""

    def __init__(self, points: tuple[LinearPoint, ...]) -> None:
        self._rows = [0, *(point.rows for point in points)]
        self._times = [0.0, *(point.ns_per_weight for point in points)]
        self._known: dict[int, float] = {}  # by rows: steps of one size come many times

    def ns_per_weight(self, rows: int) -> float:
        """Nanoseconds that `rows` rows take for each weight."""
        known = self._known.get(rows)
        if known is None:
            known = self._known[rows] = self._interpolated(rows)
        return known

    def _interpolated(self, rows: int) -> float:
        right = min(max(bisect_left(self._rows, rows), 1), len(self._rows) - 1)
        left = right - 1
        slope = (self._times[right] - self._times[left]) / (self._rows[right] - self._rows[left])
        return self._times[left] + slope * (rows - self._rows[left])


def _attended(sequences: tuple[tuple[int, int], ...], window: int | None) -> tuple[int, int]:
    """(pairs of a row and a position it attends to, distinct positions) over all sequences."""
    pairs = read = 0
    for rows, past in sequences:
        if rows == 1:
            seen = past + 1 if window is None or past < window else window
            pairs += seen
            read += seen
            continue
        pairs += attended_pairs(rows, past, window)
        reach = rows + past
        read += reach if window is None else min(reach, window + rows - 1)
    return pairs, read


def _row_work(program: Program, shape: StepShape) -> RowWork:
    linears = [op for op in program.ops if op.kind is OpKind.LINEAR]
    costs = [(op, op_cost(op, program, shape)) for op in linears]
    used = [(op, cost) for op, cost in costs if cost.flops]
    return RowWork(
        weight_bytes=sum(cost.weight_bytes for _, cost in used),
        weights=sum(_num_weights(program.weights[op.weights[0]].shape) for op, _ in used),
    )


def _num_weights(shape: tuple[int, ...]) -> float:
    out, columns = shape
    return float(out * columns)


def _total(program: Program, kind: OpKind) -> Cost:
    costs = (op_cost(op, program, _ONE_TOKEN) for op in program.ops if op.kind is kind)
    return sum(costs, start=Cost())


def _attention(program: Program) -> tuple[AttentionWork, ...]:
    flops: defaultdict[int | None, float] = defaultdict(float)
    size: defaultdict[int | None, float] = defaultdict(float)
    for op in program.ops:
        if op.kind is OpKind.ATTENTION:
            window, cost = op.param("window"), op_cost(op, program, _ONE_TOKEN)
            assert window is None or isinstance(window, int)
            flops[window] += cost.flops
            size[window] += cost.kv_bytes
    return tuple(AttentionWork(window, flops[window], size[window]) for window in flops)

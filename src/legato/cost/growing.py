"""A step that is put together sequence by sequence, with its predicted time at every point."""

from __future__ import annotations

from legato.cost.estimate import StepCost, StepWork
from legato.program.ops import attended_pairs


class GrowingStep:
    """The predicted time of a step in the making, in constant time for each question.

    Its rows, attended pairs and cached bytes add up, so that one more sequence is priced by its
    own work and the sums so far.
    """

    def __init__(
        self, cost: StepCost, factor: float = 1.0, widened: float = 1.0, spread: float = 1.0
    ) -> None:
        """`factor` multiplies every prediction (see `correct.Correction`), `widened` on top of it
        that of a step with drafts.

        Nearly all steps end within `spread` times their prediction; it changes none.
        """
        self._cost = cost
        self._factor = factor
        self._widened = widened
        self.spread = spread
        self.tokens = self.outputs = 0
        self.attention_flops = self.kv_bytes = 0.0
        self._sequences: list[tuple[int, int, float]] = []  # rows, outputs, time of attention

    def add(self, rows: int, past: int, outputs: int) -> None:
        """One more sequence: `rows` rows after `past` cached tokens, `outputs` of them sampled."""
        flops, kv_bytes = sequence_work(self._cost, rows, past)
        profile = self._cost.profile
        self.tokens += rows
        self.outputs += outputs
        self.attention_flops += flops
        self.kv_bytes += kv_bytes
        own_ns = flops * profile.attention_ns_per_flop + kv_bytes * profile.kv_ns_per_byte
        self._sequences.append((rows, outputs, own_ns))

    def work(self) -> StepWork:
        """The work so far."""
        return self._work(self.tokens, self.outputs, self.attention_flops, self.kv_bytes)

    def ns(self) -> float:
        """Predicted time so far."""
        return self._factor * self._cost.time_ns(self.work())

    def ns_with(self, rows: int, past: int, outputs: int) -> float:
        """Predicted time with one sequence more; nothing is added."""
        flops, kv_bytes = sequence_work(self._cost, rows, past)
        work = self._work(
            self.tokens + rows,
            self.outputs + outputs,
            self.attention_flops + flops,
            self.kv_bytes + kv_bytes,
        )
        return self._factor * self._cost.time_ns(work)

    def ns_widened(self, rows: int, past: int) -> float:
        """Predicted time with `rows` more rows, all sampled, of sequences that are in the step
        already, with about `past` cached tokens each; nothing is added."""
        flops = 0.0
        for part in self._cost.work.attention:
            flops += attended(part.window, 1, past)[0] * part.flops_per_pair
        work = self._work(
            self.tokens + rows,
            self.outputs + rows,
            self.attention_flops + rows * flops,
            self.kv_bytes + rows * self._cost.work.token_bytes,
        )
        return self._factor * self._widened * self._cost.time_ns(work)

    def parts(self) -> list[float]:
        """Of each sequence in order: the nanoseconds that it is the cause of, before `factor`.

        Its own attention; of the linears, as much as its rows are of all; and an equal part of
        what a step takes whatever is in it, such as reading the weights.
        """
        cost = self._cost
        own_ns = sum(own for _, _, own in self._sequences)
        per_token = cost.rows_ns(self.tokens, 0) / max(1, self.tokens)
        per_output = cost.rows_ns(0, self.outputs) / max(1, self.outputs)
        rows_ns = per_token * self.tokens + per_output * self.outputs
        fixed = (cost.time_ns(self.work()) - rows_ns - own_ns) / max(1, len(self._sequences))
        return [
            own + rows * per_token + outputs * per_output + max(0.0, fixed)
            for rows, outputs, own in self._sequences
        ]

    def _work(self, tokens: int, outputs: int, flops: float, kv_bytes: float) -> StepWork:
        work = self._cost.work
        weights = work.tokens.weight_bytes + (work.outputs.weight_bytes if outputs else 0.0)
        return StepWork(tokens, outputs, weights, flops, kv_bytes)


def sequence_work(cost: StepCost, rows: int, past: int) -> tuple[float, float]:
    """(FLOPs of attention, bytes of keys and values) of one sequence of a step."""
    flops, kv_bytes = 0.0, rows * cost.work.token_bytes
    for part in cost.work.attention:
        pairs, read = attended(part.window, rows, past)
        flops += pairs * part.flops_per_pair
        kv_bytes += read * part.bytes_per_token
    return flops, kv_bytes


def attended(window: int | None, rows: int, past: int) -> tuple[int, int]:
    """(pairs of a row and a position, distinct positions) that one sequence attends to."""
    reach = rows + past
    if rows == 1:
        seen = reach if window is None or reach < window else window
        return seen, seen
    read = reach if window is None else min(reach, window + rows - 1)
    return attended_pairs(rows, past, window), read

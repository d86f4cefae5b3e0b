"""The price of a step in which every sequence decodes one row: what most steps are.

It is what `GrowingStep` says of such a step, in less time: one part depends on the number of
sequences alone and is kept, the other is their attention, linear in what each attends to.
"""

from __future__ import annotations

from collections.abc import Sequence

from legato.cost.estimate import StepCost, StepWork


class DecodeCost:
    """Prices such steps of one program on one machine."""

    def __init__(self, cost: StepCost) -> None:
        self._cost = cost
        self._without_attention: dict[int, float] = {}  # nanoseconds, by number of sequences

    def work(self, pasts: Sequence[int]) -> StepWork:
        """Of sequences that have `pasts` cached tokens, at least one of them."""
        count, own = len(pasts), self._cost.work
        flops, kv_bytes = 0.0, count * own.token_bytes
        for part in own.attention:
            seen = sum(pasts) + count if part.window is None else sum(_seen(pasts, part.window))
            flops += seen * part.flops_per_pair
            kv_bytes += seen * part.bytes_per_token
        weights = own.tokens.weight_bytes + own.outputs.weight_bytes
        return StepWork(count, count, weights, flops, kv_bytes)

    def ns(self, work: StepWork) -> float:
        """Nanoseconds of a step with that work."""
        profile = self._cost.profile
        return (
            self._base_ns(work.tokens)
            + work.attention_flops * profile.attention_ns_per_flop
            + work.kv_bytes * profile.kv_ns_per_byte
        )

    def parts(self, pasts: Sequence[int]) -> list[float]:
        """Of each sequence: the nanoseconds that it is the cause of."""
        own, profile = self._cost.work, self._cost.profile
        even = self._base_ns(len(pasts)) / len(pasts) + own.token_bytes * profile.kv_ns_per_byte
        parts = [even] * len(pasts)
        for part in own.attention:
            ns = part.flops_per_pair * profile.attention_ns_per_flop
            ns += part.bytes_per_token * profile.kv_ns_per_byte
            seen = _seen(pasts, part.window)
            parts = [so_far + ns * count for so_far, count in zip(parts, seen, strict=True)]
        return parts

    def _base_ns(self, count: int) -> float:
        known = self._without_attention.get(count)
        if known is None:
            own = self._cost.work
            weights = own.tokens.weight_bytes + own.outputs.weight_bytes
            known = self._cost.time_ns(StepWork(count, count, weights, 0.0, 0.0))
            self._without_attention[count] = known
        return known


def _seen(pasts: Sequence[int], window: int | None) -> list[int]:
    """The positions that each row attends to."""
    if window is None:
        return [past + 1 for past in pasts]
    return [past + 1 if past < window else window for past in pasts]

"""What a step computes, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from legato.core import TokenLogprobs
from legato.scheduler.sequence import Sequence

Choice = tuple[int, TokenLogprobs | None]
"""A chosen token, and its log-probabilities if they were asked for."""

Choices = tuple[Choice, ...]
"""What a step chose for one sequence, in order: nothing in the midst of a prefill, one token
otherwise, and several where drafts were accepted."""

NO_TOKEN = -1
"""Chosen where no token can be: all are forbidden, or the logits are not finite."""


@dataclass(frozen=True, slots=True)
class Drafting:
    """Nanoseconds that steps of a draft model took to make the drafts of a step."""

    predicted_ns: int = 0
    measured_ns: int = 0


NO_DRAFTING = Drafting()


@dataclass(slots=True)
class Batch:
    """Sequences that take part in a step; `num_rows[i]` rows of it are of `sequences[i]`: pending
    tokens, and its draft.

    Attributes:
        copies: (from, to) pairs of KV blocks to copy before the step, in this order.
        only_decodes: every sequence decodes one row, without a draft. Where that is not known at
            once it is False.
        drafting: what its drafts took to make.
    """

    sequences: list[Sequence] = field(default_factory=list)
    num_rows: list[int] = field(default_factory=list)
    copies: list[tuple[int, int]] = field(default_factory=list)
    only_decodes: bool = False
    drafting: Drafting = NO_DRAFTING

    def leave_out_finished(self) -> None:
        """Forget the sequences that ended after they were chosen."""
        rows = zip(self.sequences, self.num_rows, strict=True)
        kept = [(sequence, count) for sequence, count in rows if not sequence.finished]
        self.sequences = [sequence for sequence, _ in kept]
        self.num_rows = [count for _, count in kept]

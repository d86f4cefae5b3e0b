"""Which keys and values a draft has.

A draft model's pool goes by the block ids of the target's cache: what the target keeps for reuse,
the draft has kept as well. What it lacks it computes again. A wrong account here would cost right
guesses, never right tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from legato.kvcache.table import BlockTable
from legato.scheduler.sequence import Sequence


class DraftRows(Protocol):
    """Knows how far the draft has followed each sequence."""

    def computed(self, sequence: Sequence) -> int:
        """Leading tokens of a running sequence whose keys and values are there; never all."""
        ...

    def blocks(self, sequence: Sequence, end: int) -> list[int]:
        """The blocks that the positions from `computed` to `end` go to."""
        ...

    def begin(self, sequence: Sequence, end: int) -> None:
        """Keys and values of the positions from `computed` to `end` are about to be written."""
        ...

    def advance(self, sequence: Sequence, num_computed: int) -> None:
        """Those of the first `num_computed` tokens of `sequence` are there now."""
        ...

    def forget(self, sequence: Sequence) -> None:
        """`sequence` has ended. Unknown ones are ignored."""
        ...


class SharedRows:
    """Of a draft that reads the target's own keys and values: they are always there."""

    def computed(self, sequence: Sequence) -> int:
        """All but the last token, which the target has not computed either."""
        return sequence.num_tokens - 1

    def blocks(self, sequence: Sequence, end: int) -> list[int]:
        """None but the target's own."""
        return []

    def begin(self, sequence: Sequence, end: int) -> None:
        """The target writes these positions again when it verifies."""

    def advance(self, sequence: Sequence, num_computed: int) -> None:
        """The target has them."""

    def forget(self, sequence: Sequence) -> None:
        """Nothing is kept."""


@dataclass(slots=True)
class _Place:
    """How far one sequence was followed in `table`. `chain` is the hash of all tokens of its full
    blocks up to there."""

    table: BlockTable
    computed: int = 0
    full: int = 0
    chain: int = 0


@dataclass(slots=True)
class OwnRows:
    """Of a draft model with a pool of its own, by the block ids of one of the target's groups.

    A block that the draft has filled is remembered with a hash of all tokens up to its end, so
    that whoever gets the block for the same text need not fill it again: after a prefix hit, for
    the next sample of a prompt, after preemption.
    """

    group: int
    block_size: int
    _filled: dict[int, int] = field(default_factory=dict)
    _places: dict[Sequence, _Place] = field(default_factory=dict)

    def computed(self, sequence: Sequence) -> int:
        """See `DraftRows`."""
        return self._place(sequence).computed

    def blocks(self, sequence: Sequence, end: int) -> list[int]:
        """See `DraftRows`."""
        place = self._place(sequence)
        first, last = place.computed // self.block_size, -(-end // self.block_size)
        blocks: list[int] = place.table.entries[self.group, first:last].tolist()
        return blocks

    def begin(self, sequence: Sequence, end: int) -> None:
        """See `DraftRows`: blocks that are written into are not known by their text any more."""
        for block in self.blocks(sequence, end):
            self._filled.pop(block, None)

    def advance(self, sequence: Sequence, num_computed: int) -> None:
        """See `DraftRows`."""
        place = self._place(sequence)
        place.computed = num_computed
        while (place.full + 1) * self.block_size <= num_computed:
            block, chain = self._next_full(place, sequence)
            self._filled[block] = place.chain = chain
            place.full += 1

    def forget(self, sequence: Sequence) -> None:
        """See `DraftRows`."""
        self._places.pop(sequence, None)

    def _place(self, sequence: Sequence) -> _Place:
        """Found anew where the sequence got another table since."""
        place = self._places.get(sequence)
        if place is None or place.table is not sequence.table:
            assert sequence.table is not None
            place = self._places[sequence] = _Place(sequence.table)
            self._find_filled(place, sequence)
        return place

    def _find_filled(self, place: _Place, sequence: Sequence) -> None:
        """The leading blocks of the table that were filled for the same text."""
        for _ in range(sequence.num_computed // self.block_size):
            block, chain = self._next_full(place, sequence)
            if self._filled.get(block) != chain:
                return
            place.full += 1
            place.chain = chain
            place.computed = place.full * self.block_size

    def _next_full(self, place: _Place, sequence: Sequence) -> tuple[int, int]:
        """The block after the full ones, and the hash of all tokens up to its end."""
        start = place.full * self.block_size
        text = sequence.tokens[start : start + self.block_size].tobytes()
        return int(place.table.entries[self.group, place.full]), hash((place.chain, text))

"""Block tables: where the keys and values of each running sequence lie."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from legato.kvcache.prefix import PrefixNode

I32 = npt.NDArray[np.int32]
ABSENT = -1


@dataclass(slots=True, eq=False)
class BlockTable:
    """The blocks of one sequence. All groups reach equally far; windows differ in the start.

    Attributes:
        slot: row of `TableStore.entries`; also names the sequence's place in the runner.
        entries: i32 [groups, max_blocks], a view into the store; ABSENT outside the live range.
        starts: first live block per group; grows as sliding windows pass.
        num_blocks: end of the live range, the same in every group.
        num_full: leading blocks whose tokens are all computed.
        node: place of the last full block in the prefix tree; None where it has none.
    """

    slot: int
    entries: I32
    starts: list[int]
    num_blocks: int = 0
    num_full: int = 0
    node: PrefixNode | None = None

    def live(self) -> list[int]:
        """Ids of all blocks the table refers to, the last ones first."""
        entries = self.entries[:, min(self.starts) : self.num_blocks]
        return [block for block in entries.T[::-1].ravel().tolist() if block != ABSENT]


@dataclass(slots=True)
class TableStore:
    """The tables of all sequences in one array, so that a step takes its own in one gather.

    Attributes:
        entries: i32 [groups, slots, max_blocks].
    """

    num_groups: int
    num_slots: int
    max_blocks: int
    entries: I32 = field(init=False)
    _free_slots: list[int] = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.num_groups, self.num_slots, self.max_blocks)
        self.entries = np.full(shape, ABSENT, np.int32)
        self._free_slots = list(range(self.num_slots - 1, -1, -1))

    @property
    def num_free_slots(self) -> int:
        """Tables that can still be opened."""
        return len(self._free_slots)

    def open(self) -> BlockTable:
        """An empty table in a free slot."""
        slot = self._free_slots.pop()
        return BlockTable(slot, self.entries[:, slot], [0] * self.num_groups)

    def close(self, table: BlockTable) -> None:
        """Give the slot of `table` back. Its blocks must have been released."""
        table.entries.fill(ABSENT)
        self._free_slots.append(table.slot)

    def recover(self, used: Collection[int]) -> None:
        """Give back every slot that is not in `used`."""
        self._free_slots = [s for s in reversed(range(self.num_slots)) if s not in used]
        self.entries[:, self._free_slots] = ABSENT

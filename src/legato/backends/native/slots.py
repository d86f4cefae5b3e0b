"""Which activation buffers share memory: a slot serves buffers that are never alive together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from legato.program.program import Buffer, RowKind


@dataclass(frozen=True, slots=True)
class Uses:
    """The buffers of one instruction.

    Attributes:
        in_place: (output, input) pairs that may be the same memory, if nothing else reads the
            input in this instruction or later.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    in_place: tuple[tuple[str, str], ...] = ()


def assign_slots(uses: Sequence[Uses], buffers: Mapping[str, Buffer]) -> dict[str, int]:
    """Slot of every buffer that the instructions write. A slot has rows of one kind."""
    last = {name: index for index, use in enumerate(uses) for name in (*use.reads, *use.writes)}
    pool = _Pool()
    for index, use in enumerate(uses):
        dying = [name for name in dict.fromkeys(use.reads) if last[name] == index]
        counts = Counter(use.reads)
        for name in use.writes:
            heirs = (old for new, old in use.in_place if new == name)
            fitting = (
                old
                for old in heirs
                if old in dying and counts[old] == 1 and _same(buffers[old], buffers[name])
            )
            heir = next(fitting, None)
            if heir is None:
                pool.take(buffers[name])
            else:
                pool.slots[name] = pool.slots[heir]
                dying.remove(heir)
        dying += [name for name in use.writes if last[name] == index]
        for name in dying:
            pool.release(buffers[name])
    return pool.slots


def _same(a: Buffer, b: Buffer) -> bool:
    return (a.rows, a.width) == (b.rows, b.width)


@dataclass(slots=True)
class _Pool:
    """Slots by buffer name, and those that are free with their widths, per kind of row."""

    slots: dict[str, int] = field(default_factory=dict)
    widths: list[int] = field(default_factory=list)
    free: dict[RowKind, set[int]] = field(
        default_factory=lambda: {"tokens": set(), "outputs": set()}
    )

    def take(self, buffer: Buffer) -> None:
        """The narrowest free slot that is wide enough, else the widest one, else a new one."""
        free = self.free[buffer.rows]
        wide = [slot for slot in free if self.widths[slot] >= buffer.width]
        if wide:
            slot = min(wide, key=lambda slot: self.widths[slot])
        elif free:
            slot = max(free, key=lambda slot: self.widths[slot])
        else:
            slot = len(self.widths)
            self.widths.append(0)
        free.discard(slot)
        self.widths[slot] = max(self.widths[slot], buffer.width)
        self.slots[buffer.name] = slot

    def release(self, buffer: Buffer) -> None:
        """`buffer` is not needed any more."""
        self.free[buffer.rows].add(self.slots[buffer.name])

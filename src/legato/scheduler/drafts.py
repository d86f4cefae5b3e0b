"""What the scheduler asks of speculation, and how it verifies a draft."""

from __future__ import annotations

from collections.abc import Sequence as List
from typing import Protocol

from legato.core import TokenEvent
from legato.kvcache.cache import KVCache
from legato.scheduler.batch import Choices, Drafting
from legato.scheduler.budget import StepBudget
from legato.scheduler.events import append_choice
from legato.scheduler.sequence import Sequence
from legato.scheduler.stats import SpeculationFigures


class Speculator(Protocol):
    """Guesses tokens, and learns from what became of them."""

    @property
    def figures(self) -> SpeculationFigures:
        """What became of its drafts."""
        ...

    def wants(self, decodes: int) -> bool:
        """A step begins in which `decodes` > 0 sequences decode: whether `propose` is to be
        called in it. Asked once a step."""
        ...

    @property
    def drafting(self) -> Drafting:
        """What the steps of a draft model took in the last `propose`; nothing without one."""
        ...

    @property
    def ahead(self) -> int:
        """How many tokens after its last a sequence has blocks for while drafts are made."""
        ...

    def propose(self, limits: dict[Sequence, int], budget: StepBudget) -> dict[Sequence, List[int]]:
        """Drafts for sequences that decode, at most `limits[sequence]` tokens each; those without
        a draft are left out. All together fit into what is left of `budget`."""
        ...

    def verified(self, sequence: Sequence, draft: List[int], accepted: int) -> None:
        """The target chose the first `accepted` tokens of `draft` itself."""
        ...

    def forget(self, sequence: Sequence) -> None:
        """`sequence` has ended. Unknown ones are ignored."""
        ...

    def close(self) -> None:
        """Release what drafting needs. Idempotent."""
        ...


def draft_limit(sequence: Sequence, cache: KVCache) -> int:
    """Most tokens to draft for a sequence that decodes: the last of its tokens is never drafted,
    and a draft preempts nobody."""
    assert sequence.table is not None
    wanted = sequence.length_limit - sequence.num_tokens - 1
    room = cache.room(sequence.table) - sequence.num_computed - 1
    return max(0, min(wanted, room))


def take_choices(
    sequence: Sequence, rows: int, choices: Choices, time_ns: int
) -> tuple[list[TokenEvent], int]:
    """Let `sequence` go on with what a step of `rows` rows chose for it.

    A drafted token is right where the target chose it too; what was chosen after the first wrong
    one was chosen for another text. Returns the events and how many drafted tokens were right.
    """
    draft, sequence.draft = sequence.draft, ()
    sequence.num_computed += rows - len(draft)
    events: list[TokenEvent] = []
    accepted = 0
    for place, choice in enumerate(choices):
        event = append_choice(sequence, choice, time_ns)
        events.append(event)
        right = place < len(draft) and choice[0] == draft[place]
        accepted += right
        if not right or event.finish_reason is not None:
            break
    sequence.num_computed += accepted
    if draft:
        sequence.drafted += len(draft)
        sequence.accepted += accepted
        for event in events:
            event.drafted, event.accepted = sequence.drafted, sequence.accepted
    return events, accepted

"""One sample of one request, from arrival to its last token."""

from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from legato.core import Matcher, Request
from legato.kvcache.table import BlockTable

I32 = npt.NDArray[np.int32]
Rank = tuple[int, int, int, int]


@dataclass(slots=True, eq=False)
class Sequence:
    """A growing list of tokens, of which the first `num_computed` have keys and values.

    A sequence is running while it has a table, and waiting otherwise; a preempted one keeps its
    tokens and computes their keys and values again. Its last token is always still to compute.

    Attributes:
        index: which of the request's samples.
        seed: of the noise; the same for all samples of the request.
        rank: (priority, time the first token is due, arrival, index); the smaller goes first.
        due_ns: when its next token is due.
        tbt_ns: the time between two tokens that is wanted.
        length_limit: most tokens, prompt included.
        stop_ids: tokens that end it.
        siblings: all samples of the request in order, this one included.
        cached_tokens: prompt tokens that came from the prefix cache; None before it ever ran.
        started_ns: when the first step that computed its request began.
        machine_ns: its shares of the steps that it took part in.
        grid_ns: when its next token is due on the grid of the fluidity-index.
        deadlines, missed_deadlines: of its tokens so far; a late token may miss several.
        digests: chain hashes of its full blocks, as far as they were looked up.
        last_token: the newest of its tokens.
        drafted, accepted: guesses that were verified so far, and those that were right.
        draft: guesses of its next tokens that the step under way verifies.
        matcher: follows its output through the request's constraint; None without one.
        fault: why no token can be chosen for it any more, fit for the caller.
    """

    request: Request
    index: int
    seed: int
    rank: Rank
    due_ns: int
    tbt_ns: int
    length_limit: int
    stop_ids: frozenset[int]
    siblings: list[Sequence]
    num_prompt: int = field(init=False)
    num_tokens: int = field(init=False)
    last_token: int = field(init=False)
    num_computed: int = 0
    table: BlockTable | None = None
    finished: bool = False
    cached_tokens: int | None = None
    started_ns: int | None = None
    machine_ns: int = 0
    deadlines: int = 0
    missed_deadlines: int = 0
    grid_ns: int = field(init=False)
    digests: list[bytes] = field(default_factory=list)
    drafted: int = 0
    accepted: int = 0
    draft: List[int] = ()
    matcher: Matcher | None = None
    fault: str | None = None
    _buffer: I32 = field(init=False)

    def __post_init__(self) -> None:
        self.num_prompt = self.num_tokens = len(self.request.prompt)
        self.last_token = self.request.prompt[-1]
        self.grid_ns = self.due_ns
        self._buffer = np.array(self.request.prompt, np.int32)

    @property
    def tokens(self) -> I32:
        """Prompt and output so far, i32 [num_tokens]; a view that the next token outdates."""
        return self._buffer[: self.num_tokens]

    @property
    def num_output(self) -> int:
        """Tokens generated so far."""
        return self.num_tokens - self.num_prompt

    def samples_after(self, rows: int) -> int:
        """Rows of which a token is sampled when the step computes `rows` of it: none in the midst
        of a prefill, else the last one and one for each drafted token."""
        ends = self.num_computed + rows == self.num_tokens + len(self.draft)
        return 1 + len(self.draft) if ends else 0

    @property
    def num_pending(self) -> int:
        """Tokens whose keys and values are still to be computed, at least one."""
        return self.num_tokens - self.num_computed

    @property
    def fork_source(self) -> Sequence | None:
        """A running sample of the same request whose prompt is computed."""
        for sibling in self.siblings:
            if sibling.table is not None and sibling.num_computed >= sibling.num_prompt:
                return sibling
        return None

    def score(self, time_ns: int) -> None:
        """A token came at `time_ns`: count the deadlines that it met or missed (the
        fluidity-index of Agrawal et al. 2024, arXiv 2407.07000)."""
        late_ns = time_ns - self.grid_ns
        missed = late_ns // self.tbt_ns + 1 if late_ns > 0 else 0
        self.deadlines += missed or 1
        self.missed_deadlines += missed
        self.grid_ns = max(self.grid_ns, time_ns) + self.tbt_ns

    def append(self, token: int) -> None:
        """Add a generated token."""
        if self.num_tokens == len(self._buffer):
            room = min(len(self._buffer), max(64, self.length_limit - self.num_tokens))
            self._buffer = np.concatenate([self._buffer, np.zeros(max(room, 64), np.int32)])
        self._buffer[self.num_tokens] = token
        self.num_tokens += 1
        self.last_token = token


def make_samples(
    request: Request,
    *,
    arrival: int,
    seed: int,
    due_ns: int,
    tbt_ns: int,
    length_limit: int,
    stop_ids: frozenset[int],
) -> list[Sequence]:
    """The `n` sequences of `request`, the number `arrival` to be added.

    `due_ns` is when their first token is due, and `tbt_ns` the time between the following ones.
    """
    siblings: list[Sequence] = []
    for index in range(request.params.n):
        sequence = Sequence(
            request=request,
            index=index,
            seed=seed,
            rank=(request.priority, due_ns, arrival, index),
            due_ns=due_ns,
            tbt_ns=tbt_ns,
            length_limit=length_limit,
            stop_ids=stop_ids,
            siblings=siblings,
            matcher=None if request.constraint is None else request.constraint.start(),
        )
        siblings.append(sequence)
    return siblings


def another_sample(first: Sequence, *, due_ns: int, length_limit: int) -> Sequence:
    """One more sample of the request of `first`, added to its siblings; it ranks behind them."""
    request, index = first.request, len(first.siblings)
    sequence = Sequence(
        request=request,
        index=index,
        seed=first.seed,
        rank=(*first.rank[:3], index),
        due_ns=due_ns,
        tbt_ns=first.tbt_ns,
        length_limit=length_limit,
        stop_ids=first.stop_ids,
        siblings=first.siblings,
        started_ns=first.started_ns,
        matcher=None if request.constraint is None else request.constraint.start(),
    )
    first.siblings.append(sequence)
    return sequence

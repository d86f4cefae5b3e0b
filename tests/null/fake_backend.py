"""A backend without a model. Its tokens depend on everything a real one's would: the tokens that it
finds in its KV store through the block tables, position, seed, sample index, bias and penalties. A
wrong table, a lost block or a skipped copy shows up as a wrong token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np

from legato.backends.base import SamplingInput, StepInput, StepOutput
from legato.backends.check import check_step
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import Request, SamplingParams, TokenEvent
from legato.engine import Engine
from legato.errors import BackendError
from legato.program.program import KVGroup, KVLayout, Program
from legato.scheduler.drafts import Speculator

VOCAB = 97
EOS = 7
BLOCK = 16
MASK = (1 << 61) - 1


def fake_program(windows: Sequence[int | None] = (None,), max_context: int = 512) -> Program:
    groups = tuple(KVGroup((index,), window) for index, window in enumerate(windows))
    layout = KVLayout(groups, BLOCK, num_kv_heads=1, head_dim=8, dtype="f32")
    return Program((), {}, {}, layout, VOCAB, max_context)


def mix(*values: int) -> int:
    """A fixed, well-spread function of integers."""
    state = 0x9E3779B97F4A7C15
    for value in values:
        state = (state ^ (int(value) & MASK)) * 0x2545F4914F6CDD1D & MASK
        state ^= state >> 29
    return state


NOTHING = mix()
POSITIONS = np.arange(1 << 14)
WEIGHTS = POSITIONS * 2654435761 % 1000003 + 1
"""What the token at a position counts in a digest."""

MARKS = [(POSITIONS * 8 + group) * VOCAB for group in range(8)]
"""Of each group: what is stored with a token, to know it again by its position."""


class FakeBackend:
    """See the module. `fault(run number)` may raise; `forbid(request row)` gives token −1."""

    name = "fake"

    def __init__(self, program: Program) -> None:
        self.program = program
        self.steps: list[StepInput] = []
        self.runs = 0
        self.copies = 0
        self.keep_steps = True
        self.closed = False
        self.fault: Callable[[int], None] = lambda run: None
        self.spoil: Callable[[int, int], bool] = lambda run, row: False

    def allocate_kv(self, num_blocks: int) -> None:
        self.store = np.full((num_blocks, BLOCK), -1, np.int64)

    def copy_blocks(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        self.copies += len(sources)
        for source, target in zip(sources, targets, strict=True):
            self.store[target] = self.store[source]

    def run(self, step: StepInput) -> StepOutput:
        self.runs += 1
        if self.keep_steps:
            self.steps.append(deepcopy(step))
        self.fault(self.runs)
        check_step(step, self.program, num_blocks=len(self.store))
        self._append(step)
        digests = [self._digest(step, row) for row in step.output_rows.tolist()]
        if step.sampling is None:
            logits = np.array([[mix(d, t) % 1000 for t in range(VOCAB)] for d in digests], "f4")
            empty = np.empty((0, 0), np.int32)
            return StepOutput(
                token_ids=np.empty(0, np.int32),
                logprobs=np.empty(0, np.float32),
                top_ids=empty,
                top_logprobs=empty.astype(np.float32),
                logits=logits if step.want_logits else None,
                hidden=logits[:, :8] if step.want_hidden else None,
            )
        return self._sample(digests, step.sampling)

    def close(self) -> None:
        self.closed = True

    def _append(self, step: StepInput) -> None:
        """Store (token, position, group), and forbid two sequences to write one block."""
        positions, places = step.positions, step.positions // BLOCK
        writers = np.repeat(np.arange(len(step.kv_lengths)), np.diff(step.query_starts))
        written: set[tuple[int, int]] = set()
        for group, tables in enumerate(step.block_tables):
            blocks = tables[writers, places]
            written.update(zip(blocks.tolist(), writers.tolist(), strict=True))
            self.store[blocks, positions % BLOCK] = MARKS[group][positions] + step.token_ids
        assert len({block for block, _ in written}) == len(written), "a shared block"

    def _digest(self, step: StepInput, row: int) -> int:
        """Of what the row attends to: per group the last tokens, within the window."""
        sequence = int(np.searchsorted(step.query_starts, row, side="right")) - 1
        position = int(step.positions[row])
        parts = []
        for group, kv_group in enumerate(self.program.kv.groups):
            seen = _attended(position, kv_group.window)
            first = seen.start // BLOCK
            blocks = step.block_tables[group, sequence, first : position // BLOCK + 1]
            stored = self.store[blocks].reshape(-1)
            read = stored[seen.start - first * BLOCK : seen.stop - first * BLOCK]
            tokens = read - MARKS[group][seen]
            assert 0 <= tokens.min() <= tokens.max() < VOCAB, "a foreign block"
            parts.append(int(tokens @ WEIGHTS[seen]))
        return mix(*parts)

    def _sample(self, digests: list[int], s: SamplingInput) -> StepOutput:
        self.sampling = s
        rows = len(digests)
        width = max(0, int(s.num_logprobs.max(initial=0)))
        tokens = np.array([self._token(d, s, row) for row, d in enumerate(digests)], np.int32)
        wanted = s.num_logprobs >= 0
        return StepOutput(
            token_ids=tokens,
            logprobs=np.where(wanted, [-(d % 4096) / 64 for d in digests], np.nan).astype("f4"),
            top_ids=np.array(
                [[mix(d, k) % VOCAB for k in range(width)] for d in digests], np.int32
            ).reshape(rows, width),
            top_logprobs=np.array(
                [[-(d % 1024 + k) / 64 for k in range(width)] for d in digests], np.float32
            ).reshape(rows, width),
        )

    def _token(self, digest: int, s: SamplingInput, row: int) -> int:
        if self.spoil(self.runs, row):
            return -1
        noise = (s.seed[row], s.sample_index[row]) if s.temperature[row] > 0 else (0, 0)
        token = _choose(digest, _seen(s, row), *noise, s.position[row])
        forbidden = _biased(s, row) | _masked(s, row)
        if len(forbidden) == VOCAB:
            return -1
        while token in forbidden:
            token = (token + 1) % VOCAB
        return token


def _seen(s: SamplingInput, row: int) -> int:
    """Of the row's seen tokens and how often each was."""
    seen = slice(s.seen_starts[row], s.seen_starts[row + 1])
    if seen.start == seen.stop:
        return NOTHING
    order = np.argsort(s.seen_ids[seen])
    return mix(*s.seen_ids[seen][order], *s.seen_counts[seen][order])


def _biased(s: SamplingInput, row: int) -> set[int]:
    """The tokens that the row's bias forbids."""
    bias = slice(s.bias_starts[row], s.bias_starts[row + 1])
    pairs = zip(s.bias_ids[bias].tolist(), s.bias_values[bias].tolist(), strict=True)
    return {token for token, value in pairs if value == -np.inf}


def _masked(s: SamplingInput, row: int) -> set[int]:
    """The tokens that the row's mask does not allow."""
    if s.mask_index[row] < 0:
        return set()
    words = s.masks[s.mask_index[row]]
    return {t for t in range(VOCAB) if not int(words[t // 32]) >> t % 32 & 1}


def _attended(position: int, window: int | None) -> slice:
    """The positions that a row at `position` attends to."""
    return slice(0 if window is None else max(0, position - window + 1), position + 1)


def _choose(digest: int, seen: int, seed: int, index: int, position: int) -> int:
    return mix(digest, seen, seed, index, position) % VOCAB


def next_token(
    tokens: Sequence[int], windows: Sequence[int | None], seed: int, index: int, seen: int = NOTHING
) -> int:
    """What the backend must choose after `tokens`, for a request without bias; `seen` is of the
    tokens that penalties look at."""
    ids = np.asarray(tokens, np.int64)
    views = [_attended(len(ids) - 1, window) for window in windows]
    return _choose(mix(*(int(ids[v] @ WEIGHTS[v]) for v in views)), seen, seed, index, len(ids))


def make_engine(
    windows: Sequence[int | None] = (None,),
    *,
    max_context: int = 512,
    num_kv_blocks: int = 400,
    eos_ids: frozenset[int] = frozenset({EOS}),
    speculator: Speculator | None = None,
    **config: object,
) -> tuple[Engine, FakeBackend]:
    """An engine on a fake backend, in virtual time, with seeds 1, 2, 3 …"""
    program = fake_program(windows, max_context)
    backend = FakeBackend(program)
    seeds = iter(range(1, 1_000_000))
    engine = Engine(
        program,
        backend,
        EngineConfig(num_kv_blocks=num_kv_blocks, **config),
        VirtualClock(),
        eos_ids,
        speculator=speculator,
        draw_seed=lambda: next(seeds),
    )
    return engine, backend


def make_request(
    id: str = "a",
    length: int = 20,
    *,
    start: int = 0,
    priority: int = 0,
    salt: str = "",
    prompt: Sequence[int] | None = None,
    **params: object,
) -> Request:
    """A request whose prompt is a function of `start`; 8 tokens regardless of EOS by default."""
    fields = {"max_tokens": 8, "ignore_eos": True, "temperature": 0.0} | params
    tokens = prompt or [mix(start, i) % VOCAB for i in range(length)]
    return Request(
        id=id,
        prompt=tuple(tokens),
        params=SamplingParams(**fields),
        priority=priority,
        cache_salt=salt,
    )


Outputs = dict[tuple[str, int], list[TokenEvent]]


def finish_all(engine: Engine, *requests: Request, max_steps: int = 10_000) -> Outputs:
    """Add `requests`, step until nothing is left, checking integrity; events per sample."""
    outputs: Outputs = {}
    for request in requests:
        engine.add(request)
    for _ in range(max_steps):
        if not engine.has_work:
            return outputs
        for event in engine.step():
            outputs.setdefault((event.request_id, event.index), []).append(event)
        engine.check_integrity()
    raise AssertionError(f"still working after {max_steps} steps")


def tokens_of(events: Sequence[TokenEvent]) -> list[int]:
    return [event.token_id for event in events if event.token_id is not None]


def summary(events: Sequence[TokenEvent]) -> list[tuple[object, ...]]:
    """What must not depend on company: token, log-probabilities, reason."""
    return [(e.token_id, e.logprobs, e.finish_reason) for e in events]


def alone(request: Request, windows: Sequence[int | None] = (None,), **config: object) -> Outputs:
    """What `request` gives in an engine of its own."""
    engine, _ = make_engine(windows, **config)
    return finish_all(engine, request)


def broken(run: int) -> None:
    """A fault for every run."""
    raise BackendError(f"run {run} was made to fail")


def fail_at(number: int) -> Callable[[int], None]:
    """A fault for one run."""

    def fault(run: int) -> None:
        if run == number:
            broken(run)

    return fault

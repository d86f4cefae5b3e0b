"""Drafts from a model change nothing but the number of steps, and a model that agrees with the
target is always right: its keys and values are those of the same tokens, whatever happens to the
blocks that both go by.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from legato.backends.base import StepInput, StepOutput
from legato.clock import VirtualClock
from legato.core import FinishReason, Request
from legato.cost.machine import DEFAULT_PROFILE
from legato.engine import Engine
from legato.scheduler.batch import NO_TOKEN
from legato.speculative.draft_rows import OwnRows, SharedRows
from legato.speculative.draft_steps import DraftSteps, own_pool_tables, same_tables
from legato.speculative.draft_times import DraftTimes
from legato.speculative.model import ModelSpeculator
from null.fake_backend import (
    BLOCK,
    VOCAB,
    FakeBackend,
    fail_at,
    fake_program,
    finish_all,
    make_engine,
    make_request,
)
from null.test_speculation_engine import REQUESTS, SHAPES, bits

FAST = DEFAULT_PROFILE.times_as_fast(1000)


class DraftBackend(FakeBackend):
    """Counts rows; `wrong(run number)` says whether its tokens are wrong ones."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.rows = 0
        self.wrong = lambda run: False

    def run(self, step: StepInput) -> StepOutput:
        self.rows += len(step.token_ids)
        output = super().run(step)
        if self.wrong(self.runs):
            return replace(output, token_ids=(output.token_ids + 1) % VOCAB)
        return output


class SharedBackend(DraftBackend):
    """Uses the pool of `owner`."""

    owner: FakeBackend

    @property
    def store(self) -> np.ndarray:
        return self.owner.store


def drafting_engine(
    depth: int = 0, *, windows=(None,), shared: bool = False, context: int = 512, **config: object
) -> tuple[Engine, FakeBackend, DraftBackend]:
    """An engine with a draft model that chooses as the target does: one with a pool of its own, or
    one that reads the target's."""
    program = fake_program(windows if shared else (None,), context)
    draft = (SharedBackend if shared else DraftBackend)(program)
    blocks = int(config.get("num_kv_blocks", 400))
    steps = DraftSteps(
        draft,
        same_tables if shared else own_pool_tables(0, 1),
        block_size=BLOCK,
        num_slots=65,
        vocab=VOCAB,
        draft_vocab=VOCAB,
        input_vocab=VOCAB,
    )
    if not shared:
        draft.allocate_kv(blocks)
    rows = SharedRows() if shared else OwnRows(0, BLOCK)
    times = DraftTimes(program, FAST, VirtualClock())
    speculator = ModelSpeculator(steps, rows, times, depth=depth, max_context=context)
    engine, target = make_engine(windows, speculator=speculator, **config)
    if shared:
        draft.owner = target
    return engine, target, draft


def drafted(engine: Engine) -> tuple[int, int]:
    figures = engine.stats().speculation
    return figures.drafted, figures.accepted


KINDS_AND_SHAPES = [
    (i + j, kind, shape) for i, kind in enumerate(REQUESTS) for j, shape in enumerate(SHAPES)
]
"""With a number that alternates along both, so that any two values meet though not all do."""


@pytest.mark.parametrize(
    ("kind", "shape", "depth", "shared"),
    [
        (kind, shape, depth, bool((number + k) % 2))
        for number, kind, shape in KINDS_AND_SHAPES
        for k, depth in enumerate((0, 1, 4, 16))
    ],
)
def test_a_model_that_agrees_is_always_right(kind, shape, depth, shared):
    requests, config = REQUESTS[kind], dict(SHAPES[shape])
    plain, backend = make_engine(**config)
    expected = finish_all(plain, *requests)
    engine, target, _ = drafting_engine(depth, shared=shared, **config)
    assert bits(finish_all(engine, *requests)) == bits(expected)
    count, accepted = drafted(engine)
    if shared or "windows" not in config:
        assert accepted == count
    if shared or (kind, shape) != ("long prompts", "small steps"):  # no rows left to catch up in
        assert count > 0 or kind == "one token"
        assert target.runs < backend.runs or "windows" in config or kind == "one token"


@pytest.mark.parametrize(
    ("kind", "shape", "depth"),
    [(kind, shape, (0, 3)[number % 2]) for number, kind, shape in KINDS_AND_SHAPES],
)
def test_wrong_guesses_change_nothing(kind, shape, depth):
    requests = REQUESTS[kind]
    expected = finish_all(make_engine(**SHAPES[shape])[0], *requests)
    engine, _, draft = drafting_engine(depth, **SHAPES[shape])
    draft.wrong = lambda run: run % 3 == 0
    assert bits(finish_all(engine, *requests)) == bits(expected)
    count, accepted = drafted(engine)
    assert accepted < count or count == 0


def test_a_draft_takes_one_row_a_token_once_it_has_caught_up():
    engine, _, draft = drafting_engine(4)
    request = make_request("a", length=10, max_tokens=1 + 4 * 5)
    finish_all(engine, request)
    # The prompt and the first token; then 4 rows a draft, 2 of them to catch up after the first.
    assert draft.rows == (11 + 3) + 3 * (2 + 3)


def test_a_cached_prefix_is_not_computed_again_by_the_draft():
    engine, _, draft = drafting_engine(2)
    prompt = list(range(10, 60)) + list(range(50))
    finish_all(engine, make_request("a", prompt=prompt, max_tokens=5))
    first = draft.rows
    finish_all(engine, make_request("b", prompt=prompt, max_tokens=5))
    assert draft.rows - first < first - 80
    assert drafted(engine)[0] == drafted(engine)[1]


def test_a_prefix_that_the_draft_never_saw_is_computed_by_it():
    engine, _, draft = drafting_engine(2)
    prompt = list(range(10, 60)) + list(range(50))
    shy = replace(make_request("a", prompt=prompt, max_tokens=5), draft_tokens=0)
    finish_all(engine, shy)
    assert draft.rows == 0
    finish_all(engine, make_request("b", prompt=prompt, max_tokens=5))
    assert draft.rows > len(prompt)
    assert drafted(engine)[0] == drafted(engine)[1] > 0


def test_samples_of_a_prompt_share_what_the_draft_computed():
    engine, _, draft = drafting_engine(2)
    request = make_request("a", length=160, n=4, max_tokens=8, temperature=1.0, seed=1)
    finish_all(engine, request)
    assert draft.rows < 2 * 160
    assert drafted(engine)[0] == drafted(engine)[1] > 0


def test_a_long_prompt_is_caught_up_in_pieces():
    engine, _, draft = drafting_engine(2, max_batch_tokens=32)
    finish_all(engine, make_request("a", length=200, max_tokens=40))
    assert max(len(step.token_ids) for step in draft.steps) <= 32
    assert drafted(engine)[0] == drafted(engine)[1] > 0


def test_catching_up_is_left_where_little_is_left_to_write():
    engine, _, draft = drafting_engine(0)
    finish_all(engine, make_request("a", length=400, max_tokens=2))
    assert draft.rows == 0


def test_texts_beyond_the_context_of_the_draft_are_not_drafted():
    engine, _, draft = drafting_engine(4, context=40)
    expected = finish_all(make_engine()[0], make_request("a", length=20, max_tokens=60))
    assert bits(finish_all(engine, make_request("a", length=20, max_tokens=60))) == bits(expected)
    assert max(step.kv_lengths.max() for step in draft.steps) <= 40


def test_a_draft_step_that_fails_costs_nothing_but_time(caplog):
    request = make_request("a", max_tokens=30)
    expected = finish_all(make_engine()[0], request)
    engine, _, draft = drafting_engine(4)
    draft.fault = fail_at(3)
    assert bits(finish_all(engine, request)) == bits(expected)
    assert "nothing is drafted" in caplog.text
    count, accepted = drafted(engine)
    assert count == accepted > 0


def test_a_failed_step_ends_its_requests_and_the_next_one_drafts_again():
    request = make_request("a", max_tokens=30)
    expected = finish_all(make_engine()[0], request)
    engine, target, _ = drafting_engine(4)
    target.fault = fail_at(3)
    failed = finish_all(engine, request)
    assert failed["a", 0][-1].finish_reason is FinishReason.ERROR
    assert bits(finish_all(engine, request)) == bits(expected)
    assert drafted(engine)[0] == drafted(engine)[1]


def test_where_the_draft_can_choose_nothing_it_drafts_nothing():
    request = make_request("a", max_tokens=10)
    expected = finish_all(make_engine()[0], request)
    engine, _, draft = drafting_engine(4)
    draft.spoil = lambda run, row: True
    assert bits(finish_all(engine, request)) == bits(expected)
    assert drafted(engine) == (0, 0)
    assert draft._token(0, draft.sampling, 0) == NO_TOKEN


def test_a_request_chooses_its_own_depth():
    def depth_of(own: int) -> set[int]:
        engine, target, _ = drafting_engine(5)
        request: Request = replace(make_request("a", max_tokens=31), draft_tokens=own)
        finish_all(engine, request)
        return {len(step.token_ids) - 1 for step in target.steps[1:]}

    assert depth_of(0) == {0}
    assert max(depth_of(2)) == 2


def test_cancelled_and_ended_sequences_are_forgotten():
    engine, _, _ = drafting_engine(2)
    speculator = engine._scheduler.drafts._speculator
    engine.add(make_request("a", max_tokens=50))
    engine.add(make_request("b", max_tokens=5, start=1))
    for _ in range(4):
        engine.step()
    engine.cancel("a")
    finish_all(engine)
    assert not speculator._states
    assert not speculator._rows._places


def test_a_draft_that_costs_more_than_it_gives_is_not_used():
    engine, _, draft = drafting_engine(0)
    times = engine._scheduler.drafts._speculator._times
    times.decode_ns = lambda count, past: 1e9
    times.ns = lambda parts: 1e9 * len(parts)
    finish_all(engine, make_request("a", length=10, max_tokens=60))
    assert drafted(engine) == (0, 0)
    assert draft.rows == 0


def test_the_engine_closes_the_draft():
    engine, target, draft = drafting_engine(2)
    engine.close()
    assert target.closed
    assert draft.closed

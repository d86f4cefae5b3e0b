"""Several questions that divide a number of samples, on the engine without a model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from questions import question, voting

from legato.adaptive.adaptive_consistency import AdaptiveConsistency
from legato.adaptive.best_of_n import BestOfN
from legato.adaptive.shared import SharedSamples
from legato.core import Outcome
from legato.errors import InvalidRequestError
from null.fake_backend import make_engine

RULE = AdaptiveConsistency(16, 0.95)


def solve(total: int, count: int, **config: object) -> list[Outcome]:
    """The outcomes of `count` questions that share `total` samples."""
    shared = SharedSamples(total, count, RULE)
    engine, _ = make_engine(**config)
    compute = replace(voting(RULE), shared=shared)
    ids = [f"q{i}" for i in range(count)]
    for number, id in enumerate(ids):
        engine.add(question(id, compute=compute, seed=number, start=number))
    outcomes: dict[str, Outcome] = {}
    for _ in range(5000):
        for event in engine.step():
            if event.outcome is not None:
                outcomes[event.request_id] = event.outcome
        engine.check_integrity()
        if len(outcomes) == count:
            assert engine.stats().used_blocks == 0
            return [outcomes[id] for id in ids]
        if not engine.has_work:
            shared.give()
            for id in ids:
                engine.resume(id)
    raise AssertionError("it does not end")


@pytest.mark.parametrize("total", [4, 5, 12, 30, 200])
def test_all_questions_are_answered_within_the_total(total):
    outcomes = solve(total, 4)
    assert sum(outcome.drawn for outcome in outcomes) <= total
    assert all(outcome.drawn >= 1 for outcome in outcomes)


def test_with_plenty_each_question_takes_what_it_needs():
    for outcome in solve(200, 4):
        first, second, *_ = [*outcome.votes.values(), 0, 0]
        assert outcome.confidence >= 0.95 or first - second > outcome.saved or not outcome.saved


def test_samples_go_where_votes_are_open():
    outcomes = solve(24, 4)
    open_ones = [o.drawn for o in outcomes if o.confidence < 0.9]
    sure_ones = [o.drawn for o in outcomes if o.confidence >= 0.95]
    assert open_ones
    assert max(open_ones) >= max(sure_ones, default=0)


def test_what_a_question_gets_does_not_depend_on_load():
    def seen(**config: object) -> list[tuple[object, ...]]:
        outcomes = solve(24, 4, **config)
        return [(o.winner, o.drawn, tuple(o.votes.items())) for o in outcomes]

    assert seen() == seen(max_sequences=1) == seen(num_kv_blocks=12, max_batch_tokens=16)


def test_a_question_that_holds_can_be_cancelled():
    shared = SharedSamples(8, 2, RULE)
    engine, _ = make_engine(prefix_cache=False)
    compute = replace(voting(RULE), shared=shared)
    engine.add(question(compute=compute))
    while engine.has_work:
        engine.step()
    assert engine.stats().used_blocks > 0  # its prompt is kept
    with pytest.raises(InvalidRequestError, match="a live request has the id"):
        engine.add(question(compute=compute))
    engine.cancel("q")
    assert [event.finish_reason for event in engine.step()] == ["cancelled"]
    assert engine.stats().used_blocks == 0
    engine.check_integrity()


def test_too_few_samples_are_refused():
    with pytest.raises(InvalidRequestError, match="3 questions need one each"):
        SharedSamples(2, 3, RULE)


def test_a_rule_that_counts_no_answers_cannot_share():
    with pytest.raises(InvalidRequestError, match="counts answers"):
        SharedSamples(8, 2, BestOfN(4))

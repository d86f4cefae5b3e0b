"""How a question ends through the whole engine: cancelled, failed, stopped, out of its budget."""

from __future__ import annotations

from dataclasses import replace

import pytest
from questions import (
    Digits,
    assert_decided,
    outcome_of,
    question,
    voting,
)

from legato.adaptive.adaptive_consistency import AdaptiveConsistency
from legato.adaptive.best_of_n import BestOfN
from legato.adaptive.budget import Budget
from legato.adaptive.controller import AdaptiveCompute
from legato.adaptive.early_stopping import EarlyStopping
from legato.adaptive.self_consistency import SelfConsistency
from legato.core import FinishReason
from null.fake_backend import fail_at, finish_all, make_engine, make_request, tokens_of
from null.test_draft_model_engine import drafting_engine


def test_cancelling_a_question_frees_everything():
    for steps in range(0, 40, 3):
        engine, _ = make_engine(prefix_cache=False)
        engine.add(question(compute=voting(EarlyStopping(12, 2)), length=60, ignore_eos=True))
        events = [event for _ in range(steps) for event in engine.step()]
        assert events == [] or not engine.has_work
        engine.cancel("q")
        events += engine.step()
        assert [event.finish_reason for event in events if event.finish_reason] != []
        assert len([event for event in events if event.finish_reason]) == 1
        engine.check_integrity()
        assert engine.stats().used_blocks == 0
        assert not engine.has_work


def test_a_failing_step_ends_a_question_with_one_error():
    for run in range(1, 30, 2):
        engine, backend = make_engine()
        backend.fault = fail_at(run)
        others = make_request("b", length=30, start=3, max_tokens=6)
        outputs = finish_all(
            engine, question(compute=voting(EarlyStopping(12, 2)), ignore_eos=True), others
        )
        errors = [e for e in outputs["q", 0] if e.finish_reason is FinishReason.ERROR]
        assert len(errors) <= 1
        assert sum(e.finish_reason is not None for e in outputs["q", 0]) == 1
        assert engine.stats().used_blocks == 0


@pytest.mark.parametrize("strategy", [SelfConsistency(4), EarlyStopping(12, 2)])
def test_an_answer_tells_the_drafts_of_all_its_samples(strategy):
    engine, _, _ = drafting_engine(depth=3)
    outputs = finish_all(engine, question(compute=voting(strategy), ignore_eos=True))
    end, figures = outputs["q", 0][-1], engine.stats().speculation
    assert outcome_of(outputs).drawn > 1
    assert (end.drafted, end.accepted) == (figures.drafted, figures.accepted)
    assert end.accepted > 0


def test_a_question_that_is_cancelled_tells_its_drafts():
    engine, _, _ = drafting_engine(depth=3)
    engine.add(question(compute=voting(SelfConsistency(4)), ignore_eos=True))
    for _ in range(4):
        engine.step()
    engine.cancel("q")
    (end,), figures = engine.step(), engine.stats().speculation
    assert (end.drafted, end.accepted) == (figures.drafted, figures.accepted)
    assert end.drafted > 0


def test_a_controller_that_fails_ends_its_request_alone():
    class Broken(Digits):
        def push(self, event):
            raise ValueError("no text")

    compute = AdaptiveCompute(strategy=BestOfN(3), new_text=Broken)
    engine, _ = make_engine()
    other = question("other", compute=voting(SelfConsistency(3)))
    outputs = finish_all(engine, question(compute=compute), other)
    (event,) = outputs["q", 0]
    assert event.finish_reason is FinishReason.ERROR
    assert_decided(outputs, other)
    assert engine.stats().used_blocks == 0


def test_a_sample_without_a_token_has_no_vote():
    engine, backend = make_engine()
    backend.spoil = lambda run, row: row == 1 and run == 4
    outputs = finish_all(engine, question(compute=voting(SelfConsistency(5)), ignore_eos=True))
    outcome = outcome_of(outputs)
    assert sum(outcome.votes.values()) == 4
    assert outcome.pruned == 1


def test_when_all_samples_fail_the_request_fails():
    engine, backend = make_engine()
    backend.spoil = lambda run, row: True
    outputs = finish_all(engine, question(compute=voting(SelfConsistency(3))))
    assert outputs["q", 0][-1].finish_reason is FinishReason.ERROR
    assert outputs["q", 0][-1].error


def test_a_stop_string_ends_a_sample_at_once():
    def new_text():
        return Digits(stop_token=11)

    engine, _ = make_engine()
    compute = replace(voting(SelfConsistency(6)), new_text=new_text)
    request = question(compute=compute, ignore_eos=True, max_tokens=200, seed=1)
    outputs = finish_all(engine, request)
    assert outcome_of(outputs).tokens < 6 * 200
    assert tokens_of(outputs["q", 0])[-1] == 11


def test_tokens_of_all_samples_stay_within_their_budget():
    for tokens in (1, 10, 30, 60, 100, 250):
        for strategy in (SelfConsistency(8), AdaptiveConsistency(16, 0.9), BestOfN(8)):
            engine, _ = make_engine()
            compute = voting(strategy, budget=Budget(tokens=tokens))
            outcome = outcome_of(finish_all(engine, question(compute=compute, ignore_eos=True)))
            assert 1 <= outcome.tokens <= tokens


def test_a_budget_of_tokens_gives_the_same_answer_under_load():
    compute = voting(AdaptiveConsistency(16, 0.95), budget=Budget(tokens=150))
    seen = set()
    for crowd in (0, 4):
        engine, _ = make_engine(max_sequences=6, num_kv_blocks=40)
        beside = [make_request(f"b{i}", start=i, max_tokens=60) for i in range(crowd)]
        outputs = finish_all(engine, *beside, question(compute=compute))
        outcome = outcome_of(outputs)
        seen.add((outcome.winner, tuple(outcome.votes.items()), outcome.tokens))
    assert len(seen) == 1


def test_time_that_is_over_ends_a_question_with_what_there_is():
    for budget in (Budget(elapsed_ns=7000), Budget(machine_ns=7000)):
        engine, backend = make_engine()
        clock = engine._clock
        backend.fault = lambda run, clock=clock: clock.advance(1000)
        compute = voting(SelfConsistency(8), budget=budget)
        outputs = finish_all(engine, question(compute=compute, ignore_eos=True))
        assert clock.now_ns() == 7000
        assert outputs["q", 0][-1].finish_reason is FinishReason.LENGTH
        assert len(tokens_of(outputs["q", 0])) > 0
        assert engine.stats().used_blocks == 0

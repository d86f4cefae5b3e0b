"""Requests that decide how many samples they draw, through the whole engine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from questions import (
    Digits,
    assert_decided,
    expected,
    outcome_of,
    question,
    voting,
)

from legato.adaptive.adaptive_consistency import AdaptiveConsistency
from legato.adaptive.best_of_n import BestOfN
from legato.adaptive.confidence import Confidence
from legato.adaptive.controller import AdaptiveCompute
from legato.adaptive.early_stopping import EarlyStopping
from legato.adaptive.pruning import Pruning
from legato.adaptive.self_consistency import SelfConsistency
from legato.adaptive.self_evaluation import SelfEvaluation
from legato.errors import InvalidRequestError
from legato.speculative.make import make_speculator
from legato.speculative.settings import parse_speculation
from null.fake_backend import finish_all, make_engine, make_request, tokens_of

RULES = [
    BestOfN(5),
    SelfConsistency(7),
    AdaptiveConsistency(16, 0.9),
    EarlyStopping(12, 2),
    Confidence(6, 1e-13),
]


@pytest.fixture(params=RULES, ids=lambda rule: type(rule).__name__)
def rule(request):
    return request.param


def test_a_rule_decides_as_if_its_samples_came_one_after_another(rule):
    for seed in range(6):
        request = question(compute=voting(rule), seed=seed)
        engine, _ = make_engine()
        outcome = assert_decided(finish_all(engine, request), request)
        assert outcome.drawn >= outcome.counted
        assert outcome.saved == rule.max_samples - outcome.drawn


CROWDED = [
    ((None,), {"max_sequences": 1}),
    ((None,), {"max_sequences": 3, "max_batch_tokens": 7}),
    ((None,), {"num_kv_blocks": 12, "max_batch_tokens": 32}),
    ((None,), {"prefix_cache": False}),
    ((None,), {"prefix_cache": False, "num_kv_blocks": 12}),
    ((24,), {"num_kv_blocks": 14}),
    ((None, 24), {"prefix_cache": False, "num_kv_blocks": 30}),
]


@pytest.mark.parametrize(("windows", "config"), CROWDED, ids=str)
def test_a_decision_does_not_depend_on_what_runs_beside_or_on_room(rule, windows, config):
    engine, _ = make_engine(windows, **config)
    requests = [question(f"q{i}", compute=voting(rule), seed=i, start=i) for i in range(3)]
    beside = [make_request(f"b{i}", length=30, start=9 + i, max_tokens=40) for i in range(3)]
    outputs = finish_all(engine, *beside[:2], *requests, beside[2])
    for request in requests:
        assert_decided(outputs, request, windows)
    assert engine.stats().used_blocks == 0


@pytest.mark.parametrize("pruning", [None, Pruning(every=4, margin=5.0)])
def test_speculation_changes_no_decision(rule, pruning):
    """Drafts are often wrong here, and several tokens of a sample may come in one step."""
    seen = []
    for speculate in ("off", "lookup,k=4", "suffix,k=2"):
        speculator = make_speculator(parse_speculation(speculate))
        engine, _ = make_engine(speculator=speculator)
        pattern = [3, 5, 3, 5, 3, 5, 9] * 6
        request = replace(
            question(compute=voting(rule, pruning=pruning), seed=4),
            prompt=tuple(pattern),
        )
        outputs = finish_all(engine, request)
        outcome = outcome_of(outputs)
        votes = tuple(outcome.votes.items())
        seen.append((tokens_of(outputs["q", 0]), outcome.winner, votes, outcome.counted))
    assert seen[0] == seen[1] == seen[2]


def test_preemption_changes_no_decision(rule):
    engine, _ = make_engine(num_kv_blocks=14, max_batch_tokens=32)
    requests = [
        question(f"q{i}", compute=voting(rule), seed=i, start=i, max_tokens=90) for i in range(3)
    ]
    outputs = finish_all(engine, *requests)
    assert engine.stats().preemptions > 0
    for request in requests:
        assert_decided(outputs, request)


def test_nothing_is_drawn_that_the_rule_did_not_need(rule):
    for seed in range(6):
        engine, _ = make_engine()
        engine.__dict__["_free_rows"] = 1
        outcome = outcome_of(finish_all(engine, question(compute=voting(rule), seed=seed)))
        assert outcome.drawn == outcome.counted


def most_at_once(seed):
    engine, _ = make_engine()
    engine.__dict__["_free_rows"] = 1
    compute = voting(AdaptiveConsistency(16, 0.95))
    engine.add(question(compute=compute, seed=seed, max_tokens=200))
    running = [0]
    while engine.has_work:
        engine.step()
        running.append(engine.stats().running)
    return max(running)


def test_samples_that_are_needed_anyway_begin_while_others_run():
    """Where the first two of four differ, three more are needed whatever the others say."""
    assert max(most_at_once(seed) for seed in range(6)) > 4


def test_the_answer_is_a_function_of_the_seed():
    compute = voting(AdaptiveConsistency(16, 0.9))
    tokens = set()
    for seed in (1, 1, 2):
        engine, _ = make_engine()
        outputs = finish_all(engine, question(compute=compute, seed=seed))
        tokens.add(tuple(tokens_of(outputs["q", 0])))
    assert len(tokens) == 2


def test_events_look_like_those_of_one_sample():
    engine, _ = make_engine()
    outputs = finish_all(engine, question(compute=voting(BestOfN(4)), logprobs=2))
    assert list(outputs) == [("q", 0)]
    events = outputs["q", 0]
    assert [event.finish_reason is None for event in events] == [True] * (len(events) - 1) + [False]
    assert all(event.logprobs is not None and len(event.logprobs.top) == 2 for event in events)
    assert events[0].started_ns is not None


def test_log_probabilities_that_only_the_rule_needed_are_not_shown():
    engine, _ = make_engine()
    outputs = finish_all(engine, question(compute=voting(BestOfN(4))))
    assert all(event.logprobs is None for event in outputs["q", 0])


def test_a_question_takes_the_machine_time_of_all_its_samples():
    def total(compute, **params):
        engine, backend = make_engine()
        clock = engine._clock
        backend.fault = lambda run: clock.advance(1000)
        outputs = finish_all(engine, question(compute=compute, **params))
        last = outputs["q", 0][-1]
        assert last.machine_ns == last.outcome.machine_ns == clock.now_ns()

    total(voting(SelfConsistency(5)))
    total(voting(AdaptiveConsistency(16, 0.9)))
    total(evaluating(SelfEvaluation(5, 0.9)))


def test_siblings_are_stopped_in_the_step_of_the_decision():
    """Every sample is good enough, and the first of eight ends before its siblings."""
    engine, _ = make_engine(max_batch_tokens=48)
    engine.__dict__["_free_rows"] = 8
    engine.add(question(compute=voting(Confidence(8, 0.0)), ignore_eos=True))
    engine.step()  # computes the prompt: sample 0 is a step ahead of the others
    while not (events := engine.step()):
        assert engine.stats().running == 8
    assert events[-1].outcome.drawn == 8
    assert events[-1].outcome.tokens == 24 + 7 * 23
    assert (engine.stats().running, engine.stats().used_blocks) == (0, 0)
    engine.check_integrity()
    assert not engine.has_work


def test_the_prompt_is_computed_once_and_freed_at_the_decision():
    prompt = 100
    engine, backend = make_engine(prefix_cache=False)
    request = question(compute=voting(SelfConsistency(16)), length=prompt, seed=2)
    outputs = finish_all(engine, request)
    rows = sum(len(step.token_ids) for step in backend.steps)
    generated = outcome_of(outputs).tokens
    assert rows < prompt + generated + 16
    assert engine.stats().used_blocks == 0


def test_a_later_wave_shares_the_prompt_that_was_kept_for_it():
    prompt = 100
    engine, backend = make_engine(prefix_cache=False)
    request = question(compute=voting(EarlyStopping(12, 2)), length=prompt, seed=2)
    outputs = finish_all(engine, request)
    outcome = outcome_of(outputs)
    assert outcome.drawn > 2
    rows = sum(len(step.token_ids) for step in backend.steps)
    assert rows < prompt + outcome.tokens + outcome.drawn * 16


def test_sixteen_siblings_take_the_blocks_of_one_prompt_and_their_own_tokens():
    prompt, new, block = 500, 64, 16
    engine, _ = make_engine(max_context=1024)
    request = question(
        compute=voting(SelfConsistency(16)), length=prompt, max_tokens=new, ignore_eos=True
    )
    engine.add(request)
    peak = 0
    while engine.has_work:
        engine.step()
        peak = max(peak, engine.stats().used_blocks)
    one_prompt = -(-prompt // block)
    shared = (prompt - 1) // block
    assert peak == shared + 16 * (-(-(prompt + new - 1) // block) - shared)
    assert peak <= 1.3 * (one_prompt + 16 * new / block)


def test_kept_prompts_make_room_for_others():
    """The pool holds one sample at a time: a kept prompt is given up and computed again."""
    engine, _ = make_engine(prefix_cache=False, num_kv_blocks=8)
    request = question(compute=voting(EarlyStopping(6, 2)), length=90, seed=2)
    others = [make_request(f"b{i}", length=90, start=i + 1, max_tokens=20) for i in range(3)]
    outputs = finish_all(engine, request, *others)
    assert_decided(outputs, request)
    assert engine.stats().used_blocks == 0


PRUNED = Pruning(every=4, margin=5.0)


def test_weak_samples_are_given_up_on_their_way():
    compute = voting(BestOfN(8), pruning=PRUNED)
    engine, _ = make_engine()
    outcome = outcome_of(finish_all(engine, question(compute=compute, ignore_eos=True)))
    assert outcome.pruned > 0
    assert outcome.tokens < 8 * 24


def test_who_is_given_up_does_not_depend_on_load():
    compute = voting(SelfConsistency(8), pruning=PRUNED)
    seen = set()
    for config in ({}, {"max_sequences": 2}, {"num_kv_blocks": 12}, {"max_sequences": 1}):
        engine, _ = make_engine(**config)
        outputs = finish_all(engine, question(compute=compute, seed=8), make_request("b", start=1))
        outcome = outcome_of(outputs)
        seen.add((outcome.winner, tuple(outcome.votes.items()), outcome.pruned))
    assert len(seen) == 1


def evaluating(strategy, **fields):
    return AdaptiveCompute(
        strategy=strategy, new_text=Digits, rule=None, question=((3, 5, 8), 13), **fields
    )


def test_the_model_is_asked_about_each_sample():
    engine, _ = make_engine()
    request = question(compute=evaluating(SelfEvaluation(4, 1.0)))
    outcome = outcome_of(finish_all(engine, request))
    assert outcome.counted == outcome.drawn == 4
    assert outcome.confidence is not None
    assert 0 < outcome.confidence <= 1


def test_self_evaluation_does_not_depend_on_load():
    compute = evaluating(SelfEvaluation(6, 0.9), pruning=Pruning(every=6, margin=0.2))
    seen = set()
    for config in ({}, {"max_sequences": 2}, {"num_kv_blocks": 12}, {"prefix_cache": False}):
        engine, _ = make_engine(**config)
        outputs = finish_all(engine, question(compute=compute, seed=8), make_request("b", start=1))
        outcome = outcome_of(outputs)
        seen.add((outcome.winner, outcome.confidence, outcome.pruned))
        assert engine.stats().used_blocks == 0
    assert len(seen) == 1


def test_a_sample_that_fills_the_context_cannot_be_asked_about():
    engine, _ = make_engine(max_context=64)
    request = question(compute=evaluating(SelfEvaluation(2, 0.5)), max_tokens=None, ignore_eos=True)
    outcome = outcome_of(finish_all(engine, request))
    assert outcome.confidence == 0.0


def test_several_samples_are_refused_beside_compute():
    engine, _ = make_engine()
    with pytest.raises(InvalidRequestError, match="n is 2") as caught:
        engine.add(question(compute=voting(BestOfN(2)), n=2))
    assert caught.value.param == "n"


def test_expected_outcomes_vary():
    """The samples of these tests agree sometimes, and sometimes they do not."""
    counts = {
        expected(question(compute=voting(AdaptiveConsistency(16, 0.9)), seed=seed))[0].counted
        for seed in range(8)
    }
    assert len(counts) > 2

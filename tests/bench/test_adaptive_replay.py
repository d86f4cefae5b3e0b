"""Strategies on given samples."""

from __future__ import annotations

import pytest

from legato.adaptive.adaptive_consistency import AdaptiveConsistency
from legato.adaptive.samples import Sample
from legato.bench.adaptive.questions import Question
from legato.bench.adaptive.replay import Answered, contenders, decide, decide_all
from legato.bench.adaptive.sharing import even_curve, share_budget, shared_curve


def answered(answers: str, right: str = "a", tokens: int = 3) -> Answered:
    samples = tuple(
        Sample(index=i, answer=a, tokens=tokens, mean_logprob=-0.5, machine_ns=10)
        for i, a in enumerate(answers)
    )
    return Answered("set", Question(question=answers, answer=right), samples)


EASY = answered("a" * 16)
HARD = answered("ab" * 7 + "aa")
WRONG = answered("b" * 16)


def test_a_decision_counts_what_it_took():
    decided = decide(AdaptiveConsistency(16, 0.95), EASY)
    assert (decided.right, decided.samples, decided.tokens, decided.machine_ns) == (True, 4, 12, 40)
    assert decided.confidence >= 0.95
    assert not decide(AdaptiveConsistency(16, 0.95), WRONG).right
    assert decide(AdaptiveConsistency(16, 0.95), HARD).samples == 16


def test_contenders_have_different_names_and_the_baseline_is_first():
    chosen = contenders(16)
    assert len({each.name for each in chosen}) == len(chosen)
    assert chosen[0].name == "self-consistency, 16"
    assert {each.samples for each in decide_all(chosen[0].strategy, [EASY, HARD])} == {16}


@pytest.mark.parametrize("max_samples", [1, 2, 4, 16])
def test_no_contender_wants_more_samples_than_there_are(max_samples):
    few = answered("ab" * 8)
    few = Answered("set", few.question, few.samples[:max_samples])
    for contender in contenders(max_samples):
        assert decide(contender.strategy, few).samples <= max_samples


def test_a_shared_budget_goes_to_the_questions_that_are_open():
    decided = share_budget([EASY, HARD, EASY, EASY], 5)
    assert sum(each.samples for each in decided) == 20
    assert decided[1].samples > max(decided[i].samples for i in (0, 2, 3))


def test_a_shared_budget_is_never_more_than_there_is():
    assert [each.samples for each in share_budget([EASY, HARD], 99)] == [16, 16]
    assert [each.samples for each in share_budget([EASY, HARD], 0)] == [1, 1]


def test_curves_begin_at_one_sample_and_end_with_all():
    even, shared = even_curve([EASY, WRONG]), shared_curve([EASY, WRONG])
    assert [point.samples for point in even] == [float(count) for count in range(1, 17)]
    assert even[0] == shared[0]
    assert even[-1] == shared[-1]
    assert {point.accuracy for point in even} == {0.5}

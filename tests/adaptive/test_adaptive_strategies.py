import math

import pytest
from adaptive_samples import answered, evaluated, likely
from hypothesis import given
from hypothesis import strategies as st

from legato.adaptive.adaptive_consistency import AdaptiveConsistency
from legato.adaptive.best_of_n import BestOfN
from legato.adaptive.confidence import Confidence
from legato.adaptive.decisions import Draw, Stop
from legato.adaptive.early_stopping import EarlyStopping
from legato.adaptive.outcome import first_stop, replay
from legato.adaptive.self_consistency import SelfConsistency
from legato.adaptive.self_evaluation import SelfEvaluation
from legato.adaptive.votes import count_votes, majority, majority_probability

ANSWERS = st.lists(st.sampled_from(["1", "2", "3", None]), min_size=16, max_size=16)
RULES = [
    BestOfN(16),
    SelfConsistency(16),
    AdaptiveConsistency(16, 0.95),
    EarlyStopping(16, 4),
    Confidence(16, 0.5),
    SelfEvaluation(16, 0.5),
]


def stop_of(rule, samples):
    decision = rule.decide(samples)
    assert isinstance(decision, Stop)
    return decision


@pytest.mark.parametrize(("first", "second"), [(4, 0), (6, 1), (8, 2), (9, 3)])
def test_the_smallest_stops_of_adaptive_consistency_are_those_of_the_paper(first, second):
    rule = AdaptiveConsistency(40, 0.95)
    votes = answered(*["a"] * first, *["b"] * second)
    assert isinstance(rule.decide(votes), Stop)
    one_less = answered(*["a"] * (first - 1), *["b"] * second)
    assert isinstance(rule.decide(one_less), Draw)


def test_the_beta_criterion_is_the_tail_of_the_beta_distribution():
    def tail(first, second, steps=20_000):
        width = 0.5 / steps
        centres = [0.5 + (i + 0.5) * width for i in range(steps)]
        density = [p**first * (1 - p) ** second for p in centres]
        whole = math.gamma(first + 1) * math.gamma(second + 1) / math.gamma(first + second + 2)
        return math.fsum(density) * width / whole

    for first, second in [(0, 0), (1, 0), (3, 2), (8, 2), (12, 12)]:
        assert majority_probability(first, second) == pytest.approx(tail(first, second), abs=1e-6)


def test_a_tie_in_votes_leaves_one_half():
    for votes in range(20):
        assert majority_probability(votes, votes) == 0.5


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_vote_for_the_leader_makes_it_surer_and_one_for_the_second_less(first, second):
    sure = majority_probability(first, second)
    surer, less = majority_probability(first + 1, second), majority_probability(first, second + 1)
    assert surer > sure > less


def test_ties_go_to_the_answer_that_came_first():
    assert majority(answered("2", "1", "1", "2")).winner == 0
    assert count_votes(answered("2", "1", "1", "2")) == {"2": 2, "1": 2}


def test_samples_without_an_answer_have_no_vote():
    assert majority(answered(None, None, "7")).winner == 2
    assert count_votes(answered(None, "7", None)) == {"7": 1}


def test_without_any_answer_the_first_sample_wins_and_nothing_is_claimed():
    assert majority(answered(None, None)) == Stop(0, None)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_rule_begins_by_drawing(rule):
    assert isinstance(rule.decide([]), Draw)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@given(answers=ANSWERS, data=st.data())
def test_a_rule_draws_until_it_stops_and_never_beyond_its_most(rule, answers, data):
    scores = data.draw(st.lists(st.floats(0, 1), min_size=16, max_size=16))
    samples = [
        type(sample)(
            index=sample.index,
            answer=sample.answer,
            mean_logprob=-score,
            self_evaluation=score,
        )
        for sample, score in zip(answered(*answers), scores, strict=True)
    ]
    count = 0
    while isinstance(decision := rule.decide(samples[:count]), Draw):
        assert 1 <= decision.count <= 16 - count
        earlier = (rule.decide(samples[: count + i]) for i in range(1, decision.count))
        assert all(isinstance(early, Draw) for early in earlier)  # fewer could not have stopped it
        count += decision.count
    assert first_stop(rule, samples) == (decision, count)
    assert 0 <= decision.winner < count


@given(ANSWERS)
def test_adaptive_consistency_agrees_with_self_consistency_where_it_draws_all(answers):
    samples = answered(*answers)
    never_sure = AdaptiveConsistency(16, 1.0)
    assert stop_of(never_sure, samples) == stop_of(SelfConsistency(16), samples)


@given(ANSWERS)
def test_samples_that_could_not_change_the_leader_are_not_drawn(answers):
    samples = answered(*answers)
    decision, count = first_stop(AdaptiveConsistency(16, 1.0), samples)
    assert decision.winner == stop_of(SelfConsistency(16), samples).winner
    first, second, *_ = [*count_votes(samples[:count]).values(), 0, 0]
    assert count == 16 or first - second > 16 - count


def test_adaptive_consistency_draws_what_the_leader_still_needs():
    rule = AdaptiveConsistency(16, 0.95)
    assert rule.decide([]) == Draw(4)
    assert rule.decide(answered("a", "a", "a", "b")) == Draw(3)  # 6–1
    assert rule.decide(answered(*"ab" * 7)) == Draw(2)  # all that are left
    assert rule.decide(answered(*"aab" * 4, "a", "b")) == Stop(0, majority_probability(9, 5))


def test_a_window_that_agrees_stops():
    rule = EarlyStopping(12, 3)
    assert rule.decide(answered("a", "b", "a")) == Draw(3)
    assert rule.decide(answered("a", "b", "a", "a")) == Draw(2)
    assert stop_of(rule, answered("a", "b", "a", "a", "a", "a")).winner == 0
    assert stop_of(rule, answered(*"aba" * 4)).winner == 0  # the majority of all


def test_a_window_without_answers_does_not_agree():
    assert EarlyStopping(12, 3).decide(answered(None, None, None)) == Draw(3)


def test_confidence_stops_at_the_first_likely_sample():
    rule = Confidence(4, 0.5)
    assert rule.decide(likely(math.log(0.4))) == Draw(1)
    stop = stop_of(rule, likely(math.log(0.4), math.log(0.6)))
    assert (stop.winner, stop.confidence) == (1, pytest.approx(0.6))
    assert stop_of(rule, likely(-3.0, -2.0, -4.0, -2.0)).winner == 1


def test_best_of_n_takes_the_likeliest_and_unknown_ones_last():
    assert stop_of(BestOfN(3), likely(None, -1.0, -0.5)).winner == 2


def test_self_evaluation_stops_when_another_try_would_not_be_better():
    rule = SelfEvaluation(3, 0.7)
    assert rule.decide(evaluated(0.5)) == Draw(1)
    assert stop_of(rule, evaluated(0.5, 0.8)) == Stop(1, 0.8)
    assert stop_of(rule, evaluated(0.5, 0.6, 0.1)) == Stop(1, 0.6)


def test_a_replay_counts_what_a_question_took():
    outcome = replay(AdaptiveConsistency(16, 0.95), answered(*["7"] * 4, *["8"] * 12))
    assert (outcome.answer, outcome.counted, outcome.saved) == ("7", 4, 12)
    assert (outcome.votes, outcome.tokens) == ({"7": 4}, 40)


def test_a_replay_of_too_few_samples_is_refused():
    with pytest.raises(ValueError, match="wants more than the 2 samples"):
        replay(SelfConsistency(3), answered("a", "a"))

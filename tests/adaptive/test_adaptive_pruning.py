from hypothesis import given
from hypothesis import strategies as st

from legato.adaptive.pruning import Progress, Prune, Pruning

RULE = Pruning(every=8, margin=0.5)
SCORES = st.lists(st.floats(-5, 0), max_size=4).map(tuple)
FAMILIES = st.lists(st.builds(Progress, SCORES, st.floats(-5, 0)), max_size=6)


def test_a_sample_far_below_one_before_it_is_given_up():
    assert RULE.decide([Progress((-0.2,)), Progress((-0.8,)), Progress((-0.6,))]) == Prune((1,))


def test_the_first_sample_stays():
    assert RULE.decide([Progress((-9.0,)), Progress((-0.1,))]) == Prune(())


def test_nobody_is_judged_before_those_before_it_have_come_as_far():
    behind = [Progress((-0.2,)), Progress((-0.2, -9.0))]
    assert RULE.decide(behind) == Prune(())
    assert RULE.decide([Progress((-0.2, -0.3)), behind[1]]) == Prune((1,))


def test_a_sample_that_ended_early_counts_with_its_end():
    assert RULE.decide([Progress((), -0.1), Progress((-0.2, -0.9))]) == Prune((1,))


def test_who_was_given_up_is_no_measure_for_others():
    family = [Progress((-0.1, -3.0)), Progress((-0.9, -0.1)), Progress((-0.2, -3.1))]
    assert RULE.decide(family) == Prune((1,))


@given(FAMILIES, st.data())
def test_what_is_known_later_never_takes_a_judgement_back(family, data):
    """Whatever order samples run in, the same ones are given up in the end."""
    final = set(RULE.decide(family).indices)
    partial = []
    for whole in family:
        seen = data.draw(st.integers(0, len(whole.scores)))
        ended = seen == len(whole.scores) and data.draw(st.booleans())
        partial.append(Progress(whole.scores[:seen], whole.final if ended else None))
    assert set(RULE.decide(partial).indices) <= final

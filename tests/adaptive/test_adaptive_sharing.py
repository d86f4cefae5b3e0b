import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.adaptive.sharing import expected_gain, gain_per_sample, share_samples

VOTES = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda v: (max(v), min(v)))


def test_the_first_vote_is_worth_a_quarter():
    assert expected_gain(0, 0, 1) == pytest.approx(0.25)


def test_one_vote_is_worth_nothing_where_it_cannot_change_the_leader():
    assert expected_gain(3, 1, 1) == pytest.approx(0.0, abs=1e-12)
    assert expected_gain(3, 1, 4) > 0


@given(VOTES, st.integers(1, 12))
def test_more_votes_are_never_worth_less(votes, count):
    assert expected_gain(*votes, count + 1) >= expected_gain(*votes, count) - 1e-12


def test_samples_go_where_the_question_is_open():
    given_to = share_samples([(4, 0), (2, 2), (9, 0)], 6, [12, 12, 12])
    assert given_to[1] == max(given_to)
    assert given_to[2] == 0


@given(st.lists(VOTES, min_size=1, max_size=5), st.integers(0, 20), st.data())
def test_all_samples_are_given_within_the_room(votes, samples, data):
    room = [data.draw(st.integers(0, 8)) for _ in votes]
    shares = share_samples(votes, samples, room)
    assert sum(shares) == min(samples, sum(room))
    assert all(0 <= share <= most for share, most in zip(shares, room, strict=True))


def test_unasked_questions_come_first():
    assert share_samples([(0, 0), (0, 0), (0, 0)], 3, [4, 4, 4]) == [1, 1, 1]


def test_a_closer_vote_gains_more():
    assert gain_per_sample(3, 3) > gain_per_sample(4, 2) > gain_per_sample(6, 0)

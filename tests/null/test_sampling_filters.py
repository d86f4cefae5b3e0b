from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.sampling import filters

LOGITS = st.lists(
    st.floats(-30, 30, width=32) | st.sampled_from([0.0, 1.0, -np.inf]), min_size=1, max_size=40
).map(lambda values: np.array([1.5, *values], np.float32))  # at least one token is allowed


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def kept(logits: np.ndarray) -> list[int]:
    return np.flatnonzero(np.isfinite(logits)).tolist()


def probabilities(logits: np.ndarray) -> np.ndarray:
    return np.exp(filters.log_softmax(logits))


def test_bias_adds_and_minus_infinity_forbids():
    biased = filters.add_bias(f32(1, 2, 3), i32(2, 0), f32(-np.inf, 0.5))
    assert biased.tolist() == [1.5, 2, -np.inf]


def test_a_mask_keeps_the_tokens_whose_bit_is_set():
    words = np.array([0b101, 1 << 3], np.uint32)
    assert kept(filters.apply_mask(np.zeros(40, np.float32), words)) == [0, 2, 35]


def penalise(logits: np.ndarray, ids: np.ndarray, counts: np.ndarray, **given: float) -> list:
    neutral = {"repetition": 1.0, "frequency": 0.0, "presence": 0.0}
    values = {name: np.float32(value) for name, value in (neutral | given).items()}
    return filters.penalise(logits, ids, counts, **values).tolist()


def test_repetition_divides_above_zero_and_multiplies_below():
    logits = f32(4, -4, 0, 7)
    assert penalise(logits, i32(0, 1, 2), i32(1, 0, 2), repetition=2) == [2, -8, 0, 7]


def test_presence_and_frequency_count_the_output_alone():
    logits = f32(4, 4, 4, 4)
    ids, counts = i32(0, 1, 2), i32(0, 1, 3)  # token 0 is in the prompt only
    assert penalise(logits, ids, counts, presence=0.5, frequency=0.25) == [4, 3.25, 2.75, 4]


def test_repetition_comes_before_the_subtracted_penalties():
    assert penalise(f32(4), i32(0), i32(2), repetition=2, presence=1, frequency=1) == [-1]


def test_filters_leave_their_argument_alone():
    logits = f32(3, 1, 2)
    filters.add_bias(logits, i32(0), f32(5))
    penalise(logits, i32(0), i32(1), presence=1)
    filters.keep_top_k(logits, 1)
    assert logits.tolist() == [3, 1, 2]


def test_a_tiny_temperature_stays_finite_at_the_top():
    scaled = filters.scale_temperature(f32(10, 20, 19), np.float32(1e-40))
    assert scaled.tolist() == [-np.inf, 0, -np.inf]


@pytest.mark.parametrize(("k", "expected"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (9, range(5))])
def test_top_k_lets_lower_ids_win_a_tie(k, expected):
    assert kept(filters.keep_top_k(f32(0, 5, 3, 3, 3), k)) == list(
        expected if k != 3 else [1, 2, 3]
    )


def test_top_p_keeps_the_fewest_tokens_that_reach_p():
    logits = np.log(f32(0.1, 0.5, 0.15, 0.25))
    assert kept(filters.keep_top_p(logits, 0.3)) == [1]
    assert kept(filters.keep_top_p(logits, 0.6)) == [1, 3]
    assert kept(filters.keep_top_p(logits, 0.8)) == [1, 2, 3]


def test_top_p_of_equals_keeps_lower_ids_and_at_least_one():
    assert kept(filters.keep_top_p(np.zeros(4, np.float32), 0.5)) == [0, 1]
    assert kept(filters.keep_top_p(np.zeros(4, np.float32), 1e-9)) == [0]


def test_min_p_is_relative_to_the_most_likely():
    logits = np.log(f32(0.5, 0.26, 0.24))
    assert kept(filters.keep_min_p(logits, 0.5)) == [0, 1]
    assert kept(filters.keep_min_p(logits, 1.0)) == [0]


@given(LOGITS, st.floats(0.001, 0.999))
def test_top_p_reaches_p_and_would_not_without_its_last_token(logits, p):
    mass = probabilities(logits)
    chosen = kept(filters.keep_top_p(logits, p))
    assert mass[chosen].sum() >= p - 1e-9
    least = min(mass[chosen])
    assert mass[chosen].sum() - least < p + 1e-9


@given(LOGITS, st.integers(1, 45))
def test_top_k_keeps_k_tokens_none_below_a_dropped_one(logits, k):
    chosen = kept(filters.keep_top_k(logits, k))
    allowed = kept(logits)
    assert len(chosen) == min(k, len(allowed))
    dropped = [logits[token] for token in allowed if token not in chosen]
    assert not dropped or max(dropped) <= min(logits[chosen])


@given(LOGITS, st.integers(1, 45), st.floats(0.001, 0.999), st.floats(0, 1))
def test_no_filter_drops_the_most_likely_token(logits, k, p, min_p):
    best = int(np.argmax(logits))
    filtered = filters.keep_min_p(filters.keep_top_p(filters.keep_top_k(logits, k), p), min_p)
    assert filtered[best] == logits[best]


@given(LOGITS)
def test_log_softmax_sums_to_one(logits):
    assert probabilities(logits).sum() == pytest.approx(1)

from __future__ import annotations

import numpy as np
import pytest

from legato.sampling.filters import log_softmax
from legato.sampling.sampler import sample
from op.steps import sampling_input


def f32(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def token(logits: np.ndarray, **fields) -> int:
    return int(sample(logits, sampling_input(1, logits.shape[1], **fields)).token_ids[0])


def test_zero_temperature_takes_the_lowest_of_the_best():
    assert token(f32(1, 3, 3, 2)) == 1


def test_greedy_ignores_seed_and_filters():
    assert token(f32(1, 3, 2), seed=9, top_k=2, top_p=0.1) == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"bias": [{0: 5.0}]}, 0),
        ({"bias": [{1: -np.inf}]}, 2),
        ({"allowed": [{0, 2}]}, 2),
        ({"seen": [{1: 0}], "repetition": 10.0}, 2),
        ({"seen": [{1: 1}], "presence": 2.0}, 2),
        ({"seen": [{1: 4}], "frequency": 0.5}, 2),
        ({"seen": [{1: 0}], "presence": 2.0, "frequency": 2.0}, 1),
    ],
)
def test_adjustments_come_before_the_choice(fields, expected):
    assert token(f32(1, 3, 2), **fields) == expected


def test_top_k_of_one_is_greedy_at_any_temperature():
    logits = np.random.default_rng(0).standard_normal((1, 100)).astype(np.float32)
    assert {token(logits, temperature=5.0, top_k=1, seed=s) for s in range(20)} == {
        int(logits.argmax())
    }


def test_sampled_frequencies_match_the_softmax():
    """4,000 positions of one seed; a chi-squared of 7 degrees beyond 30 has p < 1e-4."""
    count, temperature = 4000, 1.5
    row = np.array([2, 1, 0, -1, 1.5, 0.3, -0.5, 0.7], np.float32)
    sampling = sampling_input(count, 8, temperature=temperature, seed=42, position=range(count))
    chosen = sample(np.tile(row, (count, 1)), sampling).token_ids
    expected = count * np.exp(log_softmax(row / temperature))
    observed = np.bincount(chosen, minlength=8)
    assert ((observed - expected) ** 2 / expected).sum() < 30


def test_frequencies_after_top_k_match_the_softmax_of_what_is_left():
    count = 4000
    row = np.array([2, 1, 0, -1], np.float32)
    sampling = sampling_input(count, 4, temperature=1.0, top_k=2, seed=range(count))
    observed = np.bincount(sample(np.tile(row, (count, 1)), sampling).token_ids, minlength=4)
    expected = count * np.exp(log_softmax(row[:2]))
    assert observed[2:].tolist() == [0, 0]
    assert ((observed[:2] - expected) ** 2 / expected).sum() < 15


def test_top_p_looks_at_what_top_k_left():
    """Of 0.4, 0.3, 0.3 top-k 2 leaves 0.57 and 0.43, so p = 0.5 needs one token."""
    logits = np.log(f32(0.4, 0.3, 0.3))
    chosen = {token(logits, temperature=1.0, top_k=2, top_p=0.5, seed=s) for s in range(50)}
    assert chosen == {0}


def test_logprobs_are_of_the_unmodified_distribution():
    logits = f32(1, 3, 2)
    sampling = sampling_input(1, 3, temperature=1.0, top_k=1, bias=[{0: 100.0}], num_logprobs=2)
    result = sample(logits, sampling)
    expected = log_softmax(logits[0])
    assert result.token_ids.tolist() == [0]
    assert result.logprobs[0] == pytest.approx(expected[0])
    assert result.top_ids.tolist() == [[1, 2]]
    assert result.top_logprobs[0] == pytest.approx(expected[[1, 2]])


def test_columns_that_a_row_did_not_ask_for_are_empty():
    logits = np.tile(f32(1, 3, 3), (3, 1))
    result = sample(logits, sampling_input(3, 3, num_logprobs=[-1, 2, 0]))
    assert result.top_ids.tolist() == [[-1, -1], [1, 2], [-1, -1]]
    assert np.isnan(result.top_logprobs).tolist() == [[True, True], [False, False], [True, True]]
    assert np.isnan(result.logprobs).tolist() == [True, False, False]


def test_more_alternatives_than_tokens_leave_the_rest_empty():
    result = sample(f32(1, 2), sampling_input(1, 2, num_logprobs=4))
    assert result.top_ids.tolist() == [[1, 0, -1, -1]]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(
    ("logits", "fields"),
    [
        (f32(1, 2), {"bias": [{0: -np.inf, 1: -np.inf}]}),
        (f32(1, 2), {"allowed": [set()]}),
        (f32(np.nan, 2), {}),
        (f32(np.nan, 2), {"allowed": [{1}]}),
        (f32(-np.inf, -np.inf), {}),
    ],
)
def test_no_possible_token_gives_minus_one(logits, fields, temperature):
    assert token(logits, temperature=temperature, **fields) == -1


def test_rows_are_independent():
    logits = np.random.default_rng(0).standard_normal((6, 50)).astype(np.float32)
    together = sample(logits, sampling_input(6, 50, temperature=1.0, seed=range(6)))
    alone = [token(logits[r : r + 1], temperature=1.0, seed=r) for r in range(6)]
    assert together.token_ids.tolist() == alone

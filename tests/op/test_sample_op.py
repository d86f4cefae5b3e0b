"""Every backend chooses the tokens that `legato.sampling` defines, from its own logits."""

from __future__ import annotations

import numpy as np
import pytest

from legato.backends.base import StepOutput
from legato.sampling.sampler import sample
from model.tiny import f32_tensor
from op.programs import embed_program, head_program
from op.steps import Part, make_step, sampling_input

VOCAB = 9001  # no multiple of a vector, a mask word or a noise counter; three segments
ROWS = 24
RNG = np.random.default_rng(7)
SEEDS = RNG.integers(0, 2**64, ROWS, np.uint64, endpoint=False)

SEEN = [{int(i): int(i) % 4 for i in RNG.choice(VOCAB, 200, replace=False)} for _ in range(ROWS)]
BIAS = [
    {
        int(i): float(v)
        for i, v in zip(RNG.choice(VOCAB, 50, replace=False), RNG.normal(0, 3, 50), strict=True)
    }
    for _ in range(ROWS)
]
FORBIDDEN = [dict.fromkeys(range(r, VOCAB, 2), -np.inf) for r in range(ROWS)]
ALLOWED = [None if r % 3 == 0 else range(r, VOCAB, r + 2) for r in range(ROWS)]

CASES = {
    "greedy": {},
    "greedy with logprobs": {"num_logprobs": np.arange(ROWS) % 7 - 1},
    "noise": {"temperature": 1.0},
    "temperatures": {"temperature": np.linspace(0, 3, ROWS), "num_logprobs": 0},
    "cold": {"temperature": 1e-30},
    "top-k": {"temperature": 1.5, "top_k": 1 + np.arange(ROWS) ** 2},
    "top-k beyond the vocabulary": {"temperature": 1.0, "top_k": VOCAB + 1},
    "top-p": {"temperature": 1.5, "top_p": np.linspace(0.01, 1, ROWS)},
    "min-p": {"temperature": 1.5, "min_p": np.linspace(0, 1, ROWS)},
    "all filters": {"temperature": 0.9, "top_k": 60, "top_p": 0.9, "min_p": 0.02},
    "penalties": {"presence": 0.7, "frequency": 0.4, "repetition": 1.3, "seen": SEEN},
    "penalties and noise": {"temperature": 1.0, "repetition": 0.8, "presence": -1, "seen": SEEN},
    "bias": {"bias": BIAS, "num_logprobs": 3},
    "bias and noise": {"temperature": 1.0, "bias": BIAS, "top_k": 40, "num_logprobs": 20},
    "forbidden tokens": {"temperature": 1.0, "bias": FORBIDDEN},
    "masks": {"allowed": ALLOWED, "num_logprobs": 2},
    "masks and noise": {"allowed": ALLOWED, "temperature": 1.0, "top_p": 0.8},
    "everything": {
        "temperature": np.linspace(0, 2, ROWS),
        "top_k": 500,
        "top_p": 0.95,
        "min_p": 0.001,
        "presence": 0.5,
        "frequency": 0.2,
        "repetition": 1.1,
        "seen": SEEN,
        "bias": BIAS,
        "allowed": ALLOWED,
        "num_logprobs": np.arange(ROWS) % 5 - 1,
    },
}


def assert_as_defined(output: StepOutput, sampling) -> None:
    expected = sample(output.logits, sampling)
    np.testing.assert_array_equal(output.token_ids, expected.token_ids)
    np.testing.assert_allclose(output.logprobs, expected.logprobs, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(output.top_ids, expected.top_ids)
    np.testing.assert_allclose(output.top_logprobs, expected.top_logprobs, rtol=1e-5, atol=1e-5)


@pytest.fixture
def vocabulary_backend(make_backend):
    rng = np.random.default_rng(0)
    rows, head = rng.standard_normal((2, VOCAB, 16)).astype(np.float32)
    return make_backend(*head_program(rows, head))


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES.keys())
def test_tokens_and_logprobs_are_those_of_the_definition(vocabulary_backend, fields):
    sampling = sampling_input(
        ROWS,
        VOCAB,
        **{"seed": SEEDS, "position": np.arange(ROWS) * 31, "sample_index": np.arange(ROWS) % 3}
        | fields,
    )
    step = make_step([Part(range(ROWS), 0, [[0, 1]])], sampling=sampling)
    assert_as_defined(vocabulary_backend.run(step), sampling)


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_threads_change_no_bit_of_tokens_and_logprobs(make_backend, rows):
    rng = np.random.default_rng(0)
    program, tensors = head_program(*rng.standard_normal((2, VOCAB, 16)).astype(np.float32))
    sampling = sampling_input(
        rows,
        VOCAB,
        temperature=np.linspace(0.5, 3, rows),
        top_p=0.7,
        top_k=np.arange(rows) % 3 * 40,
        seed=SEEDS[:rows],
        bias=BIAS[:rows],
        seen=SEEN[:rows],
        repetition=1.2,
        allowed=ALLOWED[:rows],
        num_logprobs=4,
    )
    step = make_step([Part(range(rows), 0, [[0]])], sampling=sampling)
    alone, *teams = (
        make_backend(program, tensors, num_threads=threads).run(step) for threads in (1, 2, 5)
    )
    for team in teams:
        np.testing.assert_array_equal(team.token_ids, alone.token_ids)
        np.testing.assert_array_equal(team.logprobs, alone.logprobs)
        np.testing.assert_array_equal(team.top_ids, alone.top_ids)
        np.testing.assert_array_equal(team.top_logprobs, alone.top_logprobs)


def square_backend(make_backend, logits: np.ndarray):
    """A backend whose logits at token t are row t of a square table."""
    return make_backend(*embed_program(f32_tensor("table.weight", logits)))


@pytest.mark.parametrize(
    "fields",
    [{}, {"temperature": 1.0, "top_k": 5}, {"num_logprobs": 8}, {"temperature": 1.0, "top_p": 0.5}],
)
def test_ties_go_to_lower_ids(make_backend, fields):
    logits = np.random.default_rng(0).integers(0, 3, (50, 50)).astype(np.float32)
    sampling = sampling_input(20, 50, seed=SEEDS[:20], **fields)
    step = make_step([Part(range(20), 0, [[0, 1]])], sampling=sampling)
    assert_as_defined(square_backend(make_backend, logits).run(step), sampling)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_rows_without_a_choice_give_minus_one_and_spare_their_neighbours(make_backend, temperature):
    logits = np.random.default_rng(0).standard_normal((40, 40)).astype(np.float32)
    logits[1, 7] = np.nan
    logits[2] = -np.inf
    sampling = sampling_input(
        5,
        40,
        temperature=temperature,
        num_logprobs=2,
        bias=[{}, {}, {}, dict.fromkeys(range(40), -np.inf), {}],
    )
    step = make_step([Part(range(5), 0, [[0]])], sampling=sampling)
    output = square_backend(make_backend, logits).run(step)
    assert (output.token_ids == -1).tolist() == [False, True, True, True, False]
    assert np.isnan(output.logprobs).tolist() == [False, True, True, True, False]
    expected = sample(logits[:5], sampling)
    np.testing.assert_array_equal(output.token_ids, expected.token_ids)


def test_a_row_samples_the_same_alone_and_in_a_batch(vocabulary_backend):
    def run(rows: list[int]) -> np.ndarray:
        sampling = sampling_input(
            len(rows), VOCAB, temperature=1.0, top_p=0.9, seed=SEEDS[rows], position=rows
        )
        step = make_step([Part(rows, 0, [[0, 1]])], sampling=sampling)
        return vocabulary_backend.run(step).token_ids

    together = run(list(range(ROWS)))
    assert [int(run([row])[0]) for row in range(ROWS)] == together.tolist()

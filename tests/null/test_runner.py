"""The arrays that the runner hands to the backend."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from fake_backend import VOCAB, finish_all, make_engine, make_request, tokens_of

from legato.backends.base import SamplingInput, StepInput


def run_step(*requests, **config) -> StepInput:
    """The first step of an engine that was given `requests`."""
    engine, backend = make_engine((None, 24), **config)
    for request in requests:
        engine.add(request)
    engine.step()
    return backend.steps[0]


def test_rows_of_a_mixed_step():
    engine, backend = make_engine(max_batch_tokens=30)
    engine.add(make_request("a", 20))
    engine.step()
    engine.add(make_request("b", 40, start=1))
    engine.step()
    step = backend.steps[1]
    assert step.query_starts.tolist() == [0, 1, 30]
    assert step.kv_lengths.tolist() == [21, 29]
    assert step.positions.tolist() == [20, *range(29)]
    assert step.token_ids[1:].tolist() == list(make_request("b", 40, start=1).prompt[:29])
    assert step.output_rows.tolist() == [0]
    assert step.sampling.position.tolist() == [21]


def test_a_step_in_the_midst_of_a_prefill_samples_nothing():
    step = run_step(make_request(length=40), max_batch_tokens=16)
    assert step.sampling is None
    assert step.output_rows.tolist() == []
    assert not step.want_logits


def test_arrays_have_the_contracts_types_and_are_contiguous():
    step = run_step(make_request("a", 20, presence_penalty=1.0), make_request("b", logprobs=2))
    for name in ("token_ids", "positions", "query_starts", "kv_lengths", "block_tables"):
        assert getattr(step, name).dtype == np.int32, name
    sampling = step.sampling
    unsigned = {"seed": np.uint64, "sample_index": np.uint32, "masks": np.uint32}
    floats = {"temperature", "top_p", "min_p", "presence", "frequency", "repetition"}
    for name in SamplingInput.__dataclass_fields__:
        expected = unsigned.get(name, np.float32 if name in floats else np.int32)
        if name == "bias_values":
            expected = np.float32
        assert getattr(sampling, name).dtype == expected, name
        assert getattr(sampling, name).flags.c_contiguous, name
    assert step.block_tables.flags.c_contiguous
    assert step.block_tables.shape == (2, 2, 2)
    assert sampling.masks.shape == (0, -(-VOCAB // 32))


def test_parameters_reach_their_rows():
    a = make_request("a", temperature=0.5, top_k=5, top_p=0.25, min_p=0.125, seed=2**64 - 1)
    b = make_request("b", start=1, temperature=1.5, logprobs=3, top_k=10_000, seed=1, n=2)
    step = run_step(a, b)
    s = step.sampling
    assert s.temperature.tolist() == [0.5, 1.5]
    assert s.top_k.tolist() == [5, VOCAB]
    assert s.top_p.tolist() == [0.25, 1]
    assert s.min_p.tolist() == [0.125, 0]
    assert s.seed.tolist() == [2**64 - 1, 1]
    assert s.num_logprobs.tolist() == [-1, 3]
    assert s.mask_index.tolist() == [-1, -1]


def test_a_temperature_that_would_overflow_is_greedy():
    assert run_step(make_request(temperature=1e-30)).sampling.temperature.tolist() == [0]


def test_parameters_follow_their_sequence_when_the_order_changes():
    engine, backend = make_engine()
    engine.add(make_request("a", temperature=0.25))
    engine.step()
    engine.add(make_request("b", start=1, temperature=0.5, priority=-1))
    engine.step()
    engine.step()
    steps = [step.sampling.temperature.tolist() for step in backend.steps]
    assert steps == [[0.25], [0.25, 0.5], [0.5, 0.25]]


def test_samples_have_their_own_index_and_one_seed():
    engine, backend = make_engine()
    finish_all(engine, make_request(n=3, seed=4, temperature=1.0))
    s = next(step.sampling for step in backend.steps if len(step.output_rows) == 3)
    assert sorted(s.sample_index.tolist()) == [0, 1, 2]
    assert s.seed.tolist() == [4, 4, 4]


def test_bias_rows_and_forbidden_ends():
    a = make_request("a", logit_bias={5: 1.5, 7: -2.0})
    b = make_request("b", start=1)
    c = make_request("c", start=2, min_tokens=1, stop_token_ids=(5,), logit_bias={5: 3.0, 6: 1.0})
    engine, backend = make_engine()
    for request in (a, b, c):
        engine.add(request)
    engine.step()
    engine.step()
    first, second = (step.sampling for step in backend.steps)
    assert first.bias_starts.tolist() == [0, 2, 2, 4]
    assert first.bias_ids.tolist() == [5, 7, 5, 6]
    assert first.bias_values.tolist() == [1.5, -2.0, -np.inf, 1.0]
    assert second.bias_values.tolist() == [1.5, -2.0, 3.0, 1.0]


@pytest.mark.parametrize("config", [{}, {"num_kv_blocks": 14}])
def test_seen_tokens_are_those_of_prompt_and_output(config):
    requests = [
        make_request("a", 60, max_tokens=50, frequency_penalty=0.5),
        make_request("b", 60, start=1, max_tokens=50),
        make_request("c", 60, start=2, max_tokens=50, repetition_penalty=1.5),
    ]
    engine, backend = make_engine(max_context=120, **config)
    outputs = finish_all(engine, *requests)
    if config:
        assert engine.stats().preemptions
    for request in (requests[0], requests[2]):
        produced = tokens_of(outputs[request.id, 0])
        rows = [
            (step, row)
            for step in backend.steps
            if step.sampling is not None
            for row in range(len(step.sampling.position))
            if penalty_of(step.sampling, row) == penalty_of_request(request)
        ]
        assert len(rows) == 50
        for step, row in rows:
            done = int(step.sampling.position[row]) - len(request.prompt)
            expected = Counter(produced[:done])
            assert seen_of(step.sampling, row) == {
                token: expected[token] for token in {*request.prompt, *produced[:done]}
            }


def penalty_of(s: SamplingInput, row: int) -> tuple[float, float]:
    return float(s.frequency[row]), float(s.repetition[row])


def penalty_of_request(request) -> tuple[float, float]:
    return request.params.frequency_penalty, request.params.repetition_penalty


def seen_of(s: SamplingInput, row: int) -> dict[int, int]:
    part = slice(s.seen_starts[row], s.seen_starts[row + 1])
    return dict(zip(s.seen_ids[part].tolist(), s.seen_counts[part].tolist(), strict=True))


def test_a_row_without_penalties_has_no_seen_tokens():
    step = run_step(make_request("a"), make_request("b", start=1, presence_penalty=1.0))
    assert step.sampling.seen_starts[1] == 0
    assert step.sampling.seen_starts[2] > 0


def test_each_event_has_the_alternatives_its_request_asked_for():
    engine, _ = make_engine()
    a, b, c = (
        make_request("a", logprobs=3),
        make_request("b", start=1, logprobs=0),
        make_request("c"),
    )
    outputs = finish_all(engine, a, b, c)
    assert all(len(event.logprobs.top) == 3 for event in outputs["a", 0])
    assert all(event.logprobs.top == () for event in outputs["b", 0])
    assert all(event.logprobs is None for event in outputs["c", 0])

"""Speculation changes nothing but the number of steps: tokens, log-probabilities and ends are equal
with and without it, whatever a request asks for and however good the drafts are.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from legato.core import FinishReason, Request
from legato.errors import InvalidRequestError
from legato.speculative.accept import PRIOR_RATES
from legato.speculative.book import ReferenceBook
from legato.speculative.speculator import BatchSpeculator
from null.fake_backend import (
    BLOCK,
    EOS,
    VOCAB,
    Outputs,
    fail_at,
    finish_all,
    make_engine,
    make_request,
)

Texts = dict[tuple[int, ...], list[list[int]]]


class Oracle:
    """A drafter that knows how texts go on, and is wrong as often as it is told to be."""

    name = "oracle"
    priors = PRIOR_RATES

    def __init__(self, texts: Sequence[Sequence[int]], wrong: float) -> None:
        self.texts = texts
        self.wrong = wrong
        self.random = random.Random(1)
        self.finished: list[list[int]] = []

    def open(self, tenant: str) -> OracleDraft:
        return OracleDraft(self)


class OracleDraft:
    confidences = (5,) * 32

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.text: list[int] = []

    def extend(self, tokens: Sequence[int]) -> None:
        self.text += tokens

    def propose(self, count: int) -> list[int]:
        size, oracle = len(self.text), self.oracle
        known = [text for text in oracle.texts if list(text[:size]) == self.text]
        tokens = list(known[0][size : size + count]) if known else []
        return [(t + 1) % VOCAB if oracle.random.random() < oracle.wrong else t for t in tokens] + [
            3
        ] * (count - len(tokens))

    def finish(self, output: Sequence[int]) -> None:
        self.oracle.finished.append(list(output))


class EvenTokens:
    """A constraint: even and odd tokens in turn, and the end after `length` tokens."""

    def __init__(self, length: int = 10) -> None:
        self.length = length
        self.taken: list[int] = []

    def start(self) -> EvenTokens:
        return EvenTokens(self.length)

    def fill_mask(self, mask: np.ndarray) -> None:
        mask[:] = 0
        allowed = range(len(self.taken) % 2, VOCAB, 2)
        for token in allowed if len(self.taken) < self.length else [EOS]:
            mask[token // 32] |= np.uint32(1 << token % 32)

    def accept(self, token: int) -> None:
        if token == EOS or token % 2 != len(self.taken) % 2:
            raise ValueError(token)
        self.taken.append(token)

    def rollback(self, count: int) -> None:
        assert count <= len(self.taken)
        del self.taken[len(self.taken) - count :]


def bits(outputs: Outputs) -> dict[object, list[object]]:
    return {
        key: [(e.token_id, e.logprobs, e.finish_reason, e.error) for e in events]
        for key, events in outputs.items()
    }


def texts_of(requests: Sequence[Request], outputs: Outputs) -> list[list[int]]:
    by_id = {request.id: list(request.prompt) for request in requests}
    return [
        by_id[name] + [e.token_id for e in events if e.token_id is not None]
        for (name, _), events in outputs.items()
    ]


REQUESTS = {
    "greedy": [make_request("a", max_tokens=40)],
    "sampled": [make_request("a", max_tokens=40, temperature=0.9, seed=5)],
    "log-probabilities": [make_request("a", max_tokens=30, logprobs=3, temperature=1.0, seed=6)],
    "penalties": [
        make_request("a", max_tokens=30, frequency_penalty=0.4, presence_penalty=0.2),
        make_request("b", max_tokens=30, repetition_penalty=1.3, start=2),
    ],
    "bias": [make_request("a", max_tokens=30, logit_bias=dict.fromkeys(range(40), -100.0))],
    "the end of the text": [
        make_request(str(i), start=i, max_tokens=60, ignore_eos=False) for i in range(8)
    ],
    "min_tokens": [
        make_request(str(i), start=i, max_tokens=60, min_tokens=9, ignore_eos=False)
        for i in range(8)
    ],
    "stop tokens": [
        make_request(str(i), start=i, max_tokens=60, stop_token_ids=(11, 12, 13, 14))
        for i in range(8)
    ],
    "several samples": [make_request("a", n=4, max_tokens=30, temperature=1.0, seed=4)],
    "a shared prefix": [
        make_request(str(i), prompt=[*range(50), i], max_tokens=20) for i in range(5)
    ],
    "long prompts": [make_request(str(i), 150, start=i, max_tokens=30) for i in range(4)],
    "a constraint": [
        replace(make_request(str(i), start=i, ignore_eos=False), constraint=EvenTokens())
        for i in range(3)
    ],
    "one token": [make_request("a", max_tokens=1)],
}
SHAPES = {
    "roomy": {"num_kv_blocks": 400},
    "tiny pool": {"num_kv_blocks": 14, "max_context": 192},
    "small steps": {"num_kv_blocks": 100, "max_batch_tokens": 24},
    "sliding window": {"num_kv_blocks": 200, "windows": (None, 24)},
}


WRONG = (0.0, 0.3, 1.0)
COMBINATIONS = [
    (kind, shape, depth, WRONG[(i + j + k) % 3])  # any two values meet
    for i, kind in enumerate(REQUESTS)
    for j, shape in enumerate(SHAPES)
    for k, depth in enumerate((0, 3, 16))
]


@pytest.mark.parametrize(("kind", "shape", "depth", "wrong"), COMBINATIONS)
def test_nothing_but_the_number_of_steps_changes(kind, shape, depth, wrong):
    requests = REQUESTS[kind]
    plain, backend = make_engine(**SHAPES[shape])
    expected = finish_all(plain, *requests)
    oracle = Oracle(texts_of(requests, expected), wrong)
    engine, drafting = make_engine(
        **SHAPES[shape], speculator=BatchSpeculator(ReferenceBook(oracle), depth)
    )
    assert bits(finish_all(engine, *requests)) == bits(expected)
    figures = engine.stats().speculation
    assert figures.accepted <= figures.drafted
    if wrong == 0 and kind != "one token":
        assert figures.accepted > 0
        assert drafting.runs < backend.runs
    if wrong == 1:
        assert figures.accepted == 0


@pytest.mark.parametrize("depth", [1, 4])
def test_a_right_draft_of_k_gives_k_plus_one_tokens_a_step(depth):
    request = make_request("a", max_tokens=1 + 6 * (depth + 1))
    expected = finish_all(make_engine()[0], request)
    oracle = Oracle(texts_of([request], expected), 0.0)
    engine, backend = make_engine(speculator=BatchSpeculator(ReferenceBook(oracle), depth))
    assert bits(finish_all(engine, request)) == bits(expected)
    assert backend.runs == 1 + 6


def test_figures_count_places_of_drafts():
    request = make_request("a", max_tokens=9)
    expected = finish_all(make_engine()[0], request)
    oracle = Oracle(texts_of([request], expected), 0.0)
    engine, _ = make_engine(speculator=BatchSpeculator(ReferenceBook(oracle), 3))
    outputs = finish_all(engine, request)
    figures = engine.stats().speculation
    assert [event.drafted for event in outputs["a", 0]] == [0, 3, 3, 3, 3, 6, 6, 6, 6]
    assert (figures.drafts, figures.drafted, figures.accepted) == (2, 6, 6)
    assert figures.tried[:4] == figures.right[:4] == (2, 2, 2, 0)


def test_figures_tell_the_gain_that_was_predicted_and_the_real_one():
    request = make_request("a", max_tokens=33)
    expected = finish_all(make_engine()[0], request)
    for wrong, gains in ((0.0, True), (1.0, False)):
        oracle = Oracle(texts_of([request], expected), wrong)
        engine, backend = make_engine(speculator=BatchSpeculator(ReferenceBook(oracle), 3))
        backend.fault = lambda run, engine=engine: engine._clock.advance(1000)
        outputs = finish_all(engine, request)
        stats = engine.stats()
        figures = stats.speculation
        assert stats.draft_steps_ns == 1000 * figures.drafts
        assert figures.predicted_ns >= figures.plain_ns > 0
        assert (figures.earned_ns > 0) == gains
        assert figures.predicted_gain > 0
        assert figures.real_gain(stats.draft_steps_ns) > 0
        last = outputs["a", 0][-1]
        assert (last.drafted, last.accepted) == (figures.drafted, figures.accepted)


def test_without_drafts_gains_are_one():
    figures = make_engine()[0].stats().speculation
    assert figures.predicted_gain == figures.real_gain(0) == 1.0


def test_wrong_drafts_are_given_up():
    request = make_request("a", max_tokens=200)
    expected = finish_all(make_engine()[0], request)
    oracle = Oracle(texts_of([request], expected), 1.0)
    engine, _ = make_engine(speculator=BatchSpeculator(ReferenceBook(oracle)))
    finish_all(engine, request)
    assert engine.stats().speculation.drafts < 60


def test_a_request_chooses_its_own_depth():
    request = make_request("a", max_tokens=31)
    expected = finish_all(make_engine()[0], request)
    oracle = Oracle(texts_of([request], expected), 0.0)
    for own, most in ((0, 0), (2, 2)):
        engine, _ = make_engine(speculator=BatchSpeculator(ReferenceBook(oracle), 5))
        outputs = finish_all(engine, replace(request, draft_tokens=own))
        assert bits(outputs) == bits(expected)
        figures = engine.stats().speculation
        assert figures.drafted == most * figures.drafts


def test_an_unusable_depth_is_refused():
    engine, _ = make_engine()
    with pytest.raises(InvalidRequestError, match="draft_tokens"):
        engine.add(replace(make_request("a"), draft_tokens=33))


def test_a_drafter_that_fails_costs_nothing_but_time(caplog):
    class Broken(Oracle):
        def open(self, tenant: str) -> OracleDraft:
            raise RuntimeError("no drafts today")

    request = make_request("a")
    expected = finish_all(make_engine()[0], request)
    engine, _ = make_engine(speculator=BatchSpeculator(ReferenceBook(Broken([], 0.0))))
    assert bits(finish_all(engine, request)) == bits(expected)
    assert "nothing is drafted" in caplog.text


def test_a_cancelled_or_ended_sequence_is_forgotten():
    oracle = Oracle([], 0.0)
    speculator = BatchSpeculator(ReferenceBook(oracle), 2)
    engine, _ = make_engine(speculator=speculator)
    engine.add(make_request("a", max_tokens=50))
    engine.add(make_request("b", max_tokens=5, start=1))
    for _ in range(4):
        engine.step()
    engine.cancel("a")
    finish_all(engine)
    assert not speculator._texts
    assert len(oracle.finished) == 2


def test_a_failed_step_ends_its_requests_and_the_next_one_drafts_again():
    request = make_request("a", max_tokens=30)
    expected = finish_all(make_engine()[0], request)
    oracle = Oracle(texts_of([request], expected), 0.0)
    engine, backend = make_engine(speculator=BatchSpeculator(ReferenceBook(oracle), 4))
    backend.fault = fail_at(3)
    failed = finish_all(engine, request)
    assert failed["a", 0][-1].finish_reason is FinishReason.ERROR
    assert bits(finish_all(engine, request)) == bits(expected)


def test_a_draft_takes_blocks_but_preempts_nobody():
    requests = [make_request(str(i), 2 * BLOCK - 1, start=i, max_tokens=3) for i in range(2)]
    plain, _ = make_engine(num_kv_blocks=7)
    expected = finish_all(plain, *requests)
    oracle = Oracle(texts_of(requests, expected), 0.0)
    engine, _ = make_engine(num_kv_blocks=7, speculator=BatchSpeculator(ReferenceBook(oracle), 16))
    assert bits(finish_all(engine, *requests)) == bits(expected)
    assert engine.stats().preemptions == plain.stats().preemptions

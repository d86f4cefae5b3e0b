"""Logits and hidden states of a given text, beside the requests of the engine."""

from __future__ import annotations

import pytest
from fake_backend import VOCAB, alone, finish_all, make_engine, make_request, summary

from legato.errors import InvalidRequestError


def test_logits_do_not_depend_on_chunks_and_leave_nothing_behind():
    chunked, _ = make_engine((None, 24), max_batch_tokens=7)
    whole, _ = make_engine((None, 24))
    tokens = make_request(length=60).prompt
    assert (chunked.logits(tokens) == whole.logits(tokens)).all()
    assert whole.logits(tokens).shape == (60, VOCAB)
    chunked.check_integrity()
    assert chunked.stats().used_blocks == chunked.stats().cached_blocks == 0


def test_logits_do_not_disturb_a_running_request():
    request = make_request(length=40)
    engine, _ = make_engine()
    engine.add(request)
    events = engine.step()
    engine.logits(make_request(length=60, start=1).prompt)
    events += finish_all(engine)["a", 0]
    assert summary(events) == summary(alone(request)["a", 0])


def test_hidden_states_do_not_depend_on_chunks_and_leave_nothing_behind():
    chunked, backend = make_engine((None, 24), max_batch_tokens=7)
    whole, _ = make_engine((None, 24))
    tokens = make_request(length=60).prompt
    assert (chunked.hidden(tokens) == whole.hidden(tokens)).all()
    assert whole.hidden(tokens).shape == (60, 8)
    assert not any(step.want_logits for step in backend.steps)
    chunked.check_integrity()
    assert chunked.stats().used_blocks == chunked.stats().cached_blocks == 0


@pytest.mark.parametrize("tokens", [[], [-1], [VOCAB], [1.5], [True], list(range(60)) * 9])
def test_logits_and_hidden_states_of_bad_tokens_are_refused(tokens):
    engine, _ = make_engine()
    with pytest.raises(InvalidRequestError):
        engine.logits(tokens)
    with pytest.raises(InvalidRequestError):
        engine.hidden(tokens)

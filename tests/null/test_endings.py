"""Requests that end early, cancelled or failed, give back what they hold; the others go on."""

from __future__ import annotations

from fake_backend import alone, broken, finish_all, make_engine, make_request, summary

from legato.core import FinishReason


def test_a_cancelled_request_frees_its_blocks_at_once():
    engine, _ = make_engine(prefix_cache=False)
    engine.add(make_request("a", 100, n=3))
    engine.add(make_request("b", 100, start=1))
    for _ in range(4):
        engine.step()
    engine.cancel("a")
    engine.check_integrity()
    assert engine.stats().used_blocks == 7
    events = engine.step()
    ends = [e for e in events if e.request_id == "a"]
    assert sorted(e.index for e in ends) == [0, 1, 2]
    assert all(e.finish_reason is FinishReason.CANCELLED for e in ends)
    assert all(e.token_id is None for e in ends)


def test_one_sample_can_be_cancelled():
    engine, _ = make_engine()
    engine.add(make_request("a", n=2, temperature=1.0))
    engine.step()
    engine.cancel("a", 0)
    outputs = finish_all(engine)
    assert outputs["a", 0][-1].finish_reason is FinishReason.CANCELLED
    assert outputs["a", 1][-1].finish_reason is FinishReason.LENGTH


def test_cancelling_what_is_gone_does_nothing():
    engine, _ = make_engine()
    engine.cancel("nobody")
    assert not engine.has_work


def test_a_failed_step_fails_its_requests_and_the_engine_goes_on():
    engine, backend = make_engine()
    engine.add(make_request("a", n=3))
    engine.step()
    backend.fault = broken
    events = engine.step()
    backend.fault = lambda run: None
    assert sorted(e.index for e in events) == [0, 1, 2]
    assert all(e.finish_reason is FinishReason.ERROR for e in events)
    assert all(e.error and "BackendError" in e.error for e in events)
    assert "was made to fail" not in events[0].error
    engine.check_integrity()
    assert engine.stats().used_blocks == 0
    after = finish_all(engine, make_request("b"))
    assert summary(after["b", 0]) == summary(alone(make_request("b"))["b", 0])


def test_a_sequence_without_a_possible_token_ends_with_an_error_alone():
    engine, backend = make_engine()
    engine.add(make_request("a"))
    engine.add(make_request("b", start=1))
    engine.step()
    backend.spoil = lambda run, row: row == 0
    events = engine.step()
    backend.spoil = lambda run, row: False
    failed = next(e for e in events if e.request_id == "a")
    assert failed.finish_reason is FinishReason.ERROR
    assert failed.token_id is None
    assert failed.error
    rest = finish_all(engine)
    assert rest["b", 0][-1].finish_reason is FinishReason.LENGTH

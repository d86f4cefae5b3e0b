"""What an engine makes of requests: equal tokens alone and in company, limits, order, figures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_backend import (
    EOS,
    alone,
    finish_all,
    make_engine,
    make_request,
    summary,
    tokens_of,
)

from legato.core import FinishReason, Objectives
from legato.errors import CapacityError, InvalidRequestError

WINDOWS = [(None,), (24,), (None, 24, 24), (40, None)]


def crowd(count: int = 15, **params: object) -> list:
    return [
        make_request(f"r{i}", 5 + 13 * i % 90, start=i, max_tokens=6 + i, logprobs=i % 3, **params)
        for i in range(count)
    ]


@pytest.mark.parametrize("windows", WINDOWS)
def test_a_request_gives_the_same_alone_and_in_a_batch(windows):
    requests = crowd(16)
    engine, _ = make_engine(windows)
    together = finish_all(engine, *requests)
    for request in requests:
        expected = alone(request, windows)[request.id, 0]
        assert summary(together[request.id, 0]) == summary(expected)


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize(
    "config",
    [
        {"max_batch_tokens": 7, "max_sequences": 4},
        {"max_batch_tokens": 64, "max_sequences": 3},
        {"prefix_cache": False},
        {"num_kv_blocks": 40},
        {"num_kv_blocks": 40, "max_batch_tokens": 33, "prefix_cache": False},
    ],
)
def test_chunking_prefix_cache_and_preemption_change_nothing(windows, config):
    requests = [make_request(f"r{i}", 90, start=i % 3, max_tokens=60) for i in range(6)]
    engine, _ = make_engine(windows, max_context=160, **config)
    outputs = finish_all(engine, *requests)
    for request in requests:
        expected = alone(request, windows, max_context=160)[request.id, 0]
        assert summary(outputs[request.id, 0]) == summary(expected)
    if config.get("num_kv_blocks") == 40 and windows == (None,):
        assert engine.stats().preemptions > 0


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("length", [1, 15, 16, 17, 32, 50])
def test_samples_share_the_prompt_and_equal_those_of_single_runs(windows, length):
    request = make_request("a", length, n=4, temperature=1.0, seed=5, max_tokens=40)
    engine, backend = make_engine(windows)
    outputs = finish_all(engine, request)
    rows = sum(len(step.token_ids) for step in backend.steps)
    assert rows == length + 3 + 4 * 39  # the prompt once, its last token again for each fork
    texts = [tokens_of(outputs["a", index]) for index in range(4)]
    assert len({tuple(text) for text in texts}) == 4
    crowded, _ = make_engine(windows, max_sequences=1)
    separately = finish_all(crowded, request)
    assert [tokens_of(separately["a", index]) for index in range(4)] == texts


def test_a_seed_reproduces_and_its_absence_draws_a_new_one():
    engine, _ = make_engine()
    a, b, c, d = (
        tokens_of(finish_all(engine, make_request(name, temperature=1.0, seed=seed))[name, 0])
        for name, seed in (("a", 3), ("b", 3), ("c", None), ("d", None))
    )
    assert a == b
    assert len({tuple(text) for text in (a, c, d)}) == 3


def test_the_end_token_is_in_the_last_event():
    prompt = next(
        p
        for p in range(200)
        if EOS in tokens_of(alone(make_request(start=p, max_tokens=40))["a", 0])
    )
    engine, _ = make_engine()
    request = make_request(start=prompt, max_tokens=40, ignore_eos=False)
    events = finish_all(engine, request)["a", 0]
    assert events[-1].token_id == EOS
    assert events[-1].finish_reason is FinishReason.STOP
    assert EOS not in tokens_of(events[:-1])


def test_end_and_stop_tokens_are_masked_until_min_tokens():
    stops = tuple(range(60))
    request = make_request(
        max_tokens=30, min_tokens=12, stop_token_ids=stops, ignore_eos=False, logit_bias={3: 1.0}
    )
    events = alone(request)["a", 0]
    tokens = tokens_of(events)
    assert all(token not in stops for token in tokens[:12])
    assert events[-1].finish_reason is FinishReason.STOP
    assert tokens[-1] in stops


def test_a_stop_token_ends_the_sequence():
    free = tokens_of(alone(make_request(max_tokens=8))["a", 0])
    events = alone(make_request(stop_token_ids=(free[3],)))["a", 0]
    assert tokens_of(events) == free[: free.index(free[3]) + 1]
    assert events[-1].finish_reason is FinishReason.STOP


def test_output_is_capped_to_the_context():
    events = alone(make_request(length=90, max_tokens=1000), max_context=100)["a", 0]
    assert len(events) == 10
    assert events[-1].finish_reason is FinishReason.LENGTH


def test_a_prompt_without_room_for_output_is_refused():
    engine, _ = make_engine(max_context=100)
    engine.add(make_request("fits", 99))
    with pytest.raises(InvalidRequestError) as caught:
        engine.add(make_request("long", 100))
    assert (caught.value.param, caught.value.code) == ("prompt", "context_length_exceeded")


def test_a_prompt_that_never_fits_the_pool_is_refused_and_others_go_on():
    engine, _ = make_engine(num_kv_blocks=4)
    with pytest.raises(CapacityError):
        engine.add(make_request("huge", 64))
    outputs = finish_all(engine, make_request("small", 30))
    assert len(outputs["small", 0]) == 8


def test_a_repeated_id_is_refused_while_the_first_lives():
    engine, _ = make_engine()
    engine.add(make_request("a"))
    with pytest.raises(InvalidRequestError, match="'a'"):
        engine.add(make_request("a"))
    finish_all(engine)
    engine.add(make_request("a"))


def test_sixty_four_long_requests_finish_in_a_pool_for_one():
    requests = [make_request(f"r{i}", 60, start=i, max_tokens=60) for i in range(64)]
    engine, _ = make_engine(max_context=120, num_kv_blocks=9)
    outputs = finish_all(engine, *requests, max_steps=64 * 70)
    for request in requests[::9]:
        expected = alone(request, max_context=120)[request.id, 0]
        assert summary(outputs[request.id, 0]) == summary(expected)


@pytest.mark.parametrize("windows", [(24,), (None, 24, 24)])
def test_long_requests_finish_in_the_smallest_pool_with_windows(windows):
    for blocks in range(2, 40):
        engine, _ = make_engine(windows, max_context=160, num_kv_blocks=blocks)
        try:
            engine.check(make_request(length=100))
        except CapacityError:
            continue
        requests = [make_request(f"r{i}", 100, start=i, max_tokens=60) for i in range(3)]
        outputs = finish_all(engine, *requests, max_steps=2000)
        assert all(outputs[request.id, 0][-1].finish_reason for request in requests)
        return
    raise AssertionError("no pool was large enough")


def test_priority_goes_before_arrival():
    engine, _ = make_engine(max_sequences=1)
    order = finish_all(
        engine, make_request("late", priority=5), make_request("soon", start=1, priority=-1)
    )
    assert list(order) == [("soon", 0), ("late", 0)]


def test_a_repeated_prompt_comes_from_the_prefix_cache():
    engine, backend = make_engine()
    first = finish_all(engine, make_request("a", 50))
    backend.steps.clear()
    second = finish_all(engine, make_request("b", 50))
    assert first["a", 0][0].cached_tokens == 0
    assert second["b", 0][0].cached_tokens == 48
    assert len(backend.steps[0].token_ids) == 2
    assert tokens_of(first["a", 0]) == tokens_of(second["b", 0])


def test_a_conversation_goes_on_from_its_own_output():
    engine, _ = make_engine()
    first = make_request("a", 20, max_tokens=30)
    said = tokens_of(finish_all(engine, first)["a", 0])
    prompt = [*first.prompt, *said, 1, 2, 3]
    events = finish_all(engine, make_request("b", prompt=prompt))["b", 0]
    assert events[0].cached_tokens == 48


def test_salts_share_nothing():
    engine, _ = make_engine()
    finish_all(engine, make_request("a", 50, salt="one"))
    events = finish_all(engine, make_request("b", 50, salt="two"))["b", 0]
    assert events[0].cached_tokens == 0


def test_stats_count_what_happened():
    engine, _ = make_engine(max_sequences=2)
    for name in "abc":
        engine.add(make_request(name, n=2))
    assert engine.stats().waiting_requests == 3
    engine.step()
    stats = engine.stats()
    assert (stats.waiting_requests, stats.running, stats.waiting) == (1, 2, 4)
    finish_all(engine)
    stats = engine.stats()
    assert stats.tokens == 48
    assert stats.waiting_requests == stats.running == stats.used_blocks == 0
    assert stats.free_blocks + stats.cached_blocks == 400


def test_the_first_event_tells_when_the_engine_began_with_a_request():
    engine, backend = make_engine(max_sequences=1)
    backend.fault = lambda run: engine._clock.advance(10)
    outputs = finish_all(engine, *(make_request(name, max_tokens=3) for name in "ab"))
    assert [event.started_ns for event in outputs["a", 0]] == [0, None, None]
    assert [event.started_ns for event in outputs["b", 0]] == [30, None, None]


@pytest.mark.parametrize("windows", WINDOWS)
def test_priorities_and_deadlines_change_who_runs_but_no_token(windows):
    requests = [
        replace(request, priority=-(i % 4), objectives=Objectives(ttft_ns=1 + 7 * i % 5, tbt_ns=1))
        for i, request in enumerate(crowd(12))
    ]
    engine, backend = make_engine(windows, max_sequences=3, max_batch_tokens=40)
    backend.fault = lambda run: engine._clock.advance(1000)
    outputs: dict = {}
    coming = list(requests)
    while coming or engine.has_work:
        if coming:
            engine.add(coming.pop(0))
        for event in engine.step():
            outputs.setdefault(event.request_id, []).append(event)
        engine.check_integrity()
    assert engine.stats().preemptions > 0
    for request in requests:
        expected = alone(request, windows)[request.id, 0]
        assert summary(outputs[request.id]) == summary(expected)

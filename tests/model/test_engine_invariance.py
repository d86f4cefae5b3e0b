"""Batch invariance through the whole engine: tokens and log-probabilities of a request are equal
to the bit whatever runs beside it and however it is cut, on tiny models and every backend here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from legato.backends.registry import create_backend
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import Request, SamplingParams, TokenEvent
from legato.engine import Engine
from legato.errors import BackendError
from legato.program.build import build_program
from legato.scheduler.drafts import Speculator
from model.tiny import VARIATIONS, tiny_model

FAMILIES = ("llama", "mistral", "gemma3")
COMMON = {"kv_dtype": "f32", "num_kv_blocks": 400, "max_batch_tokens": 128}


@pytest.fixture(params=["reference", "native"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that runs on this machine."""
    if request.param == "native":
        pytest.importorskip("legato._native", reason="the native backend is not built")
    return request.param


def make_engine(family: str, speculator: Speculator | None = None, **config: object) -> Engine:
    arch, weights = tiny_model(VARIATIONS[family])
    chosen = EngineConfig(**{**COMMON, **config})
    program = build_program(
        arch, weights, block_size=16, kv_dtype=chosen.kv_element, max_context=arch.max_context
    )
    try:
        backend = create_backend(program, weights, chosen)
    except BackendError as error:
        pytest.skip(str(error))
    return Engine(program, backend, chosen, VirtualClock(), frozenset(), speculator=speculator)


def make_request(number: int, *, shared: int = 0, max_tokens: int = 12) -> Request:
    """Greedy or sampled, with and without penalties; `shared` leading tokens are everybody's."""
    prompt = [(7 * i) % 160 for i in range(shared)]
    prompt += [(31 * number + 17 * i * i + i) % 160 for i in range(3 + 7 * number)]
    params = SamplingParams(
        temperature=number % 3 * 0.7,
        top_k=20 * (number % 2),
        frequency_penalty=0.3 * (number % 4 == 1),
        seed=number,
        max_tokens=max_tokens,
        logprobs=2,
    )
    return Request(id=f"r{number}", prompt=tuple(prompt), params=params)


def generate(engine: Engine, requests: list[Request]) -> dict[str, list[TokenEvent]]:
    outputs: dict[str, list[TokenEvent]] = {}
    for request in requests:
        engine.add(request)
    while engine.has_work:
        for event in engine.step():
            outputs.setdefault(event.request_id, []).append(event)
        engine.check_integrity()
    return outputs


def bits(events: list[TokenEvent]) -> list[tuple[object, ...]]:
    return [(event.token_id, event.logprobs, event.finish_reason) for event in events]


def assert_same_as_alone(
    family: str, backend: str, requests: list[Request], **config: object
) -> Engine:
    engine = make_engine(family, backend=backend, **config)
    together = generate(engine, requests)
    kv_dtype = config.get("kv_dtype", COMMON["kv_dtype"])
    solo = make_engine(family, backend=backend, prefix_cache=False, kv_dtype=kv_dtype)
    for request in requests[::5]:
        assert bits(together[request.id]) == bits(generate(solo, [request])[request.id])
    engine.close()
    solo.close()
    return engine


@pytest.mark.parametrize("family", FAMILIES)
def test_sixteen_together_equal_each_alone(family, backend):
    assert_same_as_alone(family, backend, [make_request(n) for n in range(16)])


@pytest.mark.parametrize("family", FAMILIES)
def test_chunked_prefill_equals_whole(family, backend):
    requests = [make_request(n) for n in range(6, 12)]
    assert_same_as_alone(family, backend, requests, max_batch_tokens=7, max_sequences=3)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prefix_cache_changes_nothing(family, backend):
    requests = [make_request(n, shared=70) for n in range(6)]
    engine = make_engine(family, backend=backend)
    generate(engine, requests[:1])
    warm = generate(engine, requests)
    cold = generate(make_engine(family, backend=backend, prefix_cache=False), requests)
    assert warm["r5"][0].cached_tokens >= 64
    for name, events in cold.items():
        assert bits(warm[name]) == bits(events)


@pytest.mark.parametrize("kv_dtype", ["bf16", "int8"])
def test_small_elements_of_keys_and_values_change_nothing_of_that(backend, kv_dtype):
    requests = [make_request(n, shared=70) for n in range(6)]
    assert_same_as_alone(
        "gemma3", backend, requests, kv_dtype=kv_dtype, max_batch_tokens=40, num_kv_blocks=90
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_preemption_changes_nothing(family, backend):
    requests = [make_request(n, shared=30, max_tokens=40) for n in range(6)]
    blocks = {"llama": 10, "mistral": 10, "gemma3": 60}[family]
    engine = assert_same_as_alone(
        family, backend, requests, num_kv_blocks=blocks, prefix_cache=False
    )
    if family == "llama":
        assert engine.stats().preemptions > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_being_stopped_for_better_priorities_changes_nothing(family, backend):
    requests = [replace(make_request(n, max_tokens=20), priority=-n) for n in range(6)]
    engine = make_engine(family, backend=backend, max_sequences=2)
    outputs: dict[str, list[TokenEvent]] = {}
    coming = list(requests)
    while coming or engine.has_work:
        if coming:
            engine.add(coming.pop(0))
        for _ in range(3):
            for event in engine.step():
                outputs.setdefault(event.request_id, []).append(event)
    assert engine.stats().preemptions > 0
    solo = make_engine(family, backend=backend, prefix_cache=False)
    for request in requests[::2]:
        assert bits(outputs[request.id]) == bits(generate(solo, [request])[request.id])


def test_forked_samples_equal_samples_run_one_by_one(backend):
    request = Request(
        id="a",
        prompt=tuple(range(40)),
        params=SamplingParams(n=4, seed=1, max_tokens=8, logprobs=0),
    )
    forked = generate(make_engine("gemma3", backend=backend), [request])["a"]
    single = make_engine("gemma3", backend=backend, max_sequences=1, prefix_cache=False)
    separate = generate(single, [request])["a"]
    for index in range(4):
        assert bits([e for e in forked if e.index == index]) == bits(
            [e for e in separate if e.index == index]
        )

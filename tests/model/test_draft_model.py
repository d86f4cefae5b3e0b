"""Draft models on real arithmetic: tokens and log-probabilities are equal to the bit with and
without one, and a copy of the target is always right, on every backend here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from legato.backends.base import Backend
from legato.backends.registry import create_backend
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import Request, SamplingParams, TokenEvent
from legato.cost.machine import DEFAULT_PROFILE
from legato.draft_model import DraftModel, Target, open_draft_model
from legato.engine import Engine
from legato.errors import BackendError, FetchError, InvalidRequestError
from legato.llm import LLM
from legato.program.build import build_program
from legato.program.program import Program
from legato.program.shortcut import Shortcut, shortcut_weights
from model.test_engine_invariance import COMMON, backend, bits, generate, make_engine
from model.test_speculation_invariance import requests
from model.tiny import VARIATIONS, layers, tiny_model

__all__ = ["backend"]  # a fixture

FAST = DEFAULT_PROFILE.times_as_fast(1000)
DRAFTS = {
    "narrow": {"hidden_size": 32, "num_heads": 2, "num_kv_heads": 1},
    "windowed": {"layers": layers(20, None, 20)},
    "more tokens": {"vocab_size": 200},
    "fewer tokens": {"vocab_size": 130},
}
FULL = {"llama": 0, "gemma3": 1}
"""The group of full attention of each family."""


def open_backend(
    overrides: Mapping[str, object],
    config: EngineConfig,
    *,
    vocab: int | None = None,
    seed: int = 0,
    beside: Backend | None = None,
) -> tuple[Program, Backend]:
    arch, weights = tiny_model(overrides, seed=seed)
    shortcut = None
    if vocab is not None and arch.vocab_size > vocab:
        shortcut = Shortcut(tuple(range(len(arch.layers))), vocab)
        weights = shortcut_weights(arch, weights, shortcut)
    program = build_program(
        arch,
        weights,
        block_size=16,
        kv_dtype=config.kv_element,
        max_context=arch.max_context,
        shortcut=shortcut,
    )
    try:
        return program, create_backend(program, weights, config, beside=beside)
    except BackendError as error:
        pytest.skip(str(error))


def drafting_engine(family: str, draft: str = "copy", depth: int = 3, **config: object) -> Engine:
    chosen = EngineConfig(**{**COMMON, **config})
    program, backend = open_backend(VARIATIONS[family], chosen)
    overrides = VARIATIONS[family] if draft == "copy" else DRAFTS[draft]
    seed = 0 if draft == "copy" else 5
    own, beside = open_backend(
        overrides, chosen, vocab=program.vocab_size, seed=seed, beside=backend
    )
    target = Target(None, program, backend, None)
    clock = VirtualClock()
    model = DraftModel(target, own, beside, FULL[family])
    speculator = model.speculator(depth, chosen, FAST, clock)
    return Engine(program, backend, chosen, clock, frozenset(), speculator=speculator)


def assert_same(engine: Engine, family: str, wanted: list[Request], **config: object) -> None:
    plain = generate(make_engine(family, **config), wanted)
    assert samples(generate(engine, wanted)) == samples(plain)


def samples(outputs: dict[str, list[TokenEvent]]) -> dict[tuple[str, int], list[object]]:
    return {
        (name, index): bits([event for event in events if event.index == index])
        for name, events in outputs.items()
        for index in {event.index for event in events}
    }


@pytest.mark.parametrize("depth", [0, 1, 5])
@pytest.mark.parametrize("family", FULL)
def test_a_copy_of_the_target_is_always_right(family, backend, depth):
    engine = drafting_engine(family, depth=depth, backend=backend)
    assert_same(engine, family, requests(), backend=backend)
    figures = engine.stats().speculation
    assert figures.accepted == figures.drafted > 0


@pytest.mark.parametrize("family", FULL)
@pytest.mark.parametrize("draft", DRAFTS)
def test_another_model_changes_no_bit(family, backend, draft):
    engine = drafting_engine(family, draft, backend=backend)
    assert_same(engine, family, requests(), backend=backend)
    figures = engine.stats().speculation
    assert 0 < figures.accepted < figures.drafted


@pytest.mark.parametrize("family", FULL)
@pytest.mark.parametrize("blocks", [14, 90])
def test_preemption_and_cached_prefixes_change_no_bit(family, backend, blocks):
    blocks *= {"llama": 1, "gemma3": 3}[family]
    config = {"backend": backend, "num_kv_blocks": blocks, "max_batch_tokens": 40}
    engine = drafting_engine(family, **config)
    assert_same(engine, family, requests(), **config)
    assert_same(engine, family, requests(), **config)
    figures, stats = engine.stats().speculation, engine.stats()
    assert figures.accepted == figures.drafted > 0
    assert stats.used_blocks == 0
    assert stats.free_blocks + stats.cached_blocks == blocks


@pytest.mark.parametrize("family", FULL)
def test_samples_of_one_prompt(family, backend):
    params = SamplingParams(n=4, seed=1, max_tokens=20, logprobs=0)
    request = Request(id="a", prompt=tuple(range(40)), params=params)
    engine = drafting_engine(family, backend=backend)
    assert_same(engine, family, [request], backend=backend)
    figures = engine.stats().speculation
    assert figures.accepted == figures.drafted > 0


def test_a_target_whose_layers_all_have_windows_has_no_blocks_to_share():
    program, backend = open_backend(VARIATIONS["mistral"], EngineConfig(backend="reference"))
    with pytest.raises(InvalidRequestError, match="all layers of this model have a sliding window"):
        open_draft_model("anything", Target(None, program, backend, None), EngineConfig())


@pytest.mark.real_model
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_real_model_drafts_for_itself(smollm2_path, temperature):
    params = SamplingParams(
        temperature=temperature, top_p=0.95, frequency_penalty=0.2, seed=3, max_tokens=40
    )
    texts = ["The committee met on Tuesday and", "Once upon a time"]
    results = []
    for speculate in ("off", f"draft={smollm2_path},k=4"):
        with LLM(smollm2_path, speculate=speculate, num_kv_blocks=64, max_context=512) as llm:
            outputs = [result.outputs[0].token_ids for result in llm.generate(texts, params)]
            results.append((outputs, llm.stats()))
    (plain, _), (drafted, stats) = results
    assert drafted == plain
    assert stats.speculation.accepted == stats.speculation.drafted > 50


@pytest.mark.real_model
def test_stop_strings_end_a_text_that_is_drafted_where_they_end_any(smollm2_path):
    prompt, params = "Once upon a time", SamplingParams(temperature=0.0, max_tokens=32)
    results = []
    for speculate in ("off", f"draft={smollm2_path},k=4"):
        with LLM(smollm2_path, speculate=speculate, num_kv_blocks=64, max_context=512) as llm:
            whole = llm.generate(prompt, params)[0].outputs[0].text
            stops = [whole[start : start + 3] for start in range(10, 40, 3)]
            stopped = llm.generate(
                [prompt] * len(stops), [replace(params, stop=(stop,)) for stop in stops]
            )
            results.append([result.outputs[0] for result in stopped])
    plain, drafted = results
    assert [output.text for output in plain] == [whole[: whole.index(stop)] for stop in stops]
    for name in ("text", "token_ids", "finish_reason"):
        assert [getattr(o, name) for o in drafted] == [getattr(o, name) for o in plain]


@pytest.mark.real_model
def test_another_vocabulary_is_refused_with_the_first_difference(smollm2_path, gemma_path):
    with pytest.raises(InvalidRequestError, match=r"another vocabulary .*token 0 is '<pad>' there"):
        LLM(smollm2_path, speculate=f"draft={gemma_path}")


@pytest.mark.real_model
def test_a_draft_model_that_is_not_there_is_refused(smollm2_path):
    with pytest.raises(FetchError, match="speculate: the draft model: no model at 'nowhere"):
        LLM(smollm2_path, speculate="draft=nowhere.gguf")


@pytest.mark.real_model
def test_both_pools_fit_into_the_memory_given(smollm2_path):
    memory = 64 * 1024 * 1024
    with LLM(smollm2_path, kv_memory=memory) as llm:
        alone = llm.stats().free_blocks
    with LLM(smollm2_path, kv_memory=memory, speculate=f"draft={smollm2_path}") as llm:
        assert llm.stats().free_blocks == alone // 2

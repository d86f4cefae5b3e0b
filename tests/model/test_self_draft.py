"""A model that drafts for itself with layers left out: nothing changes to the bit, and with all of
its layers it is always right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from legato import assemble
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import SamplingParams
from legato.cost.machine import DEFAULT_PROFILE
from legato.draft_model import Target
from legato.engine import Engine
from legato.find_shortcut import (
    FoundShortcut,
    find_shortcut,
    load_shortcut,
    predicted_gain,
    save_shortcut,
)
from legato.llm import LLM
from legato.models.arch import ArchConfig
from legato.program.shortcut import Shortcut
from legato.self_draft import open_self_draft
from legato.tensor import Tensor
from model.test_draft_model import FAST, assert_same, open_backend
from model.test_engine_invariance import COMMON, backend, generate
from model.test_speculation_invariance import requests
from model.tiny import VARIATIONS, tiny_model

__all__ = ["backend"]  # a fixture

LAYERS = {"llama": 2, "mistral": 2, "gemma3": 6}


@dataclass
class FakeModel:
    arch: ArchConfig
    weights: Mapping[str, Tensor]
    name: str = "tiny"


@dataclass
class FakeTokenizer:
    ids: list[int] = field(default_factory=lambda: [(7 * i * i + i) % 160 for i in range(60)])

    def encode(self, text: str) -> list[int]:
        return self.ids


def make_target(family: str, config: EngineConfig) -> Target:
    program, target = open_backend(VARIATIONS[family], config)
    return Target(FakeModel(*tiny_model(VARIATIONS[family])), program, target, FakeTokenizer())


def drafting_engine(
    family: str, kept: tuple[int, ...], head: int = 160, depth: int = 3, **config: object
) -> Engine:
    chosen = EngineConfig(**{**COMMON, **config})
    target, clock = make_target(family, chosen), VirtualClock()
    draft = open_self_draft(Shortcut(kept, head), 0.7, target, chosen)
    speculator = draft.speculator(depth, chosen, FAST, clock)
    return Engine(target.program, target.backend, chosen, clock, frozenset(), speculator=speculator)


@pytest.mark.parametrize("depth", [0, 4])
@pytest.mark.parametrize("family", LAYERS)
def test_with_all_its_layers_it_is_always_right(family, backend, depth):
    engine = drafting_engine(family, tuple(range(LAYERS[family])), depth=depth, backend=backend)
    assert_same(engine, family, requests(), backend=backend)
    figures = engine.stats().speculation
    assert figures.accepted == figures.drafted > 0


@pytest.mark.parametrize("head", [160, 64])
@pytest.mark.parametrize("family", LAYERS)
def test_leaving_layers_and_tokens_out_changes_no_bit(family, backend, head):
    engine = drafting_engine(family, (0,), head, backend=backend)
    assert_same(engine, family, requests(), backend=backend)
    figures = engine.stats().speculation
    assert 0 < figures.accepted < figures.drafted


@pytest.mark.parametrize("family", LAYERS)
def test_preemption_and_cached_prefixes_change_no_bit(family, backend):
    blocks = {"llama": 14, "mistral": 14, "gemma3": 60}[family]
    config = {"backend": backend, "num_kv_blocks": blocks, "max_batch_tokens": 40}
    engine = drafting_engine(family, (0,), **config)
    for _ in range(2):
        assert_same(engine, family, requests(), **config)
    stats = engine.stats()
    assert stats.used_blocks == 0
    assert stats.free_blocks + stats.cached_blocks == blocks


def test_a_shortcut_is_found_that_agrees_as_it_says(backend):
    config = EngineConfig(**{**COMMON, "backend": backend})
    target = make_target("gemma3", config)
    found = find_shortcut(target, config, DEFAULT_PROFILE)
    layers = found.shortcut.layers
    assert 3 <= len(layers) <= 6
    assert list(layers) == sorted(set(layers))
    assert 0 < found.agreement <= 1
    draft = open_self_draft(found.shortcut, found.agreement, target, config)
    clock = VirtualClock()
    speculator = draft.speculator(2, config, FAST, clock)
    engine = Engine(
        target.program, target.backend, config, clock, frozenset(), speculator=speculator
    )
    generate(engine, requests())
    assert engine.stats().speculation.drafted > 0


def test_the_search_for_a_shortcut_tells_how_far_it_is(caplog):
    caplog.set_level("INFO", "legato.find_shortcut")
    config = EngineConfig(**{**COMMON, "backend": "reference"})
    find_shortcut(make_target("gemma3", config), config, DEFAULT_PROFILE)
    told = [record.args for record in caplog.records if record.message.startswith("tried")]
    assert 1 < len(told) <= 10
    assert told == sorted(set(told))
    assert {most for _, most in told} == {1 + 6 + 3 * 3}


def test_the_gain_is_that_of_the_best_depth():
    assert predicted_gain(1.0, 0.0, lambda k: 10.0) == pytest.approx(9.0)
    assert predicted_gain(0.0, 5.0, lambda k: 10.0) == pytest.approx(10 / 15)
    assert predicted_gain(0.5, 5.0, lambda k: 10.0) == pytest.approx(1.5 / 15 * 10)


def test_what_was_found_is_kept(tmp_path: Path, caplog):
    found = FoundShortcut(Shortcut((0, 2), 64), 0.75, 1.1)
    path = tmp_path / "shortcuts" / "key.json"
    assert load_shortcut(path) is None
    save_shortcut(path, found)
    assert load_shortcut(path) == found
    path.write_text("{}")
    assert load_shortcut(path) is None
    assert "is ignored" in caplog.text


def test_a_shortcut_is_looked_for_once(tmp_path, monkeypatch):
    calls = []

    def find(target: Target, *_: object) -> FoundShortcut:
        calls.append(target)
        return FoundShortcut(Shortcut((0,), 64), 0.5, 0.9)

    monkeypatch.setenv("LEGATO_CACHE", str(tmp_path))
    monkeypatch.setattr(assemble, "find_shortcut", find)
    target = make_target("llama", EngineConfig(backend="reference", kv_dtype="f32"))
    config = EngineConfig(backend="reference")
    assert assemble._shortcut(target, config) == assemble._shortcut(target, config)
    assert len(calls) == 1


@pytest.mark.real_model
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_real_model_writes_the_same_text(smollm2_path, monkeypatch, temperature):
    found = FoundShortcut(
        Shortcut(tuple(i for i in range(30) if i not in (9, 11, 13)), 24576), 0.6, 1.0
    )
    monkeypatch.setattr(assemble, "_shortcut", lambda target, config: found)
    params = SamplingParams(temperature=temperature, top_p=0.95, seed=3, max_tokens=40)
    texts = ["The committee met on Tuesday and", "Once upon a time"]
    results = []
    for speculate in ("off", "self,k=3"):
        with LLM(smollm2_path, speculate=speculate, num_kv_blocks=64, max_context=512) as llm:
            outputs = [result.outputs[0].token_ids for result in llm.generate(texts, params)]
            results.append((outputs, llm.stats()))
    (plain, _), (drafted, stats) = results
    assert drafted == plain
    assert 0 < stats.speculation.accepted < stats.speculation.drafted

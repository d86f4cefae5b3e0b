"""Backends beside each other: what they share, and that results do not depend on it."""

from __future__ import annotations

import numpy as np
import pytest

from legato.backends.base import Backend
from legato.backends.registry import create_backend
from legato.config import EngineConfig
from legato.errors import BackendError
from legato.program.build import build_program
from legato.program.shortcut import Shortcut, shortcut_weights
from legato.tensor import WeightFormat
from model.test_engine_invariance import backend
from model.tiny import layers, tiny_model
from op.steps import Part, make_step

__all__ = ["backend"]  # a fixture

BUILD = {"block_size": 16, "kv_dtype": "f32", "max_context": 64}
FOUR_LAYERS = {"layers": layers(None, None, None, None)}
ALL = Shortcut((0, 1, 2, 3), 160)
STEP = make_step([Part(range(20), 0, [[2, 0]])])


def make(backend: str, arch, weights, shortcut=None, **sharing: object) -> Backend:
    if shortcut is not None:
        weights = shortcut_weights(arch, weights, shortcut)
    program = build_program(arch, weights, **BUILD, shortcut=shortcut)
    config = EngineConfig(backend=backend, kv_dtype="f32")
    return create_backend(program, weights, config, **sharing)


def test_backends_beside_each_other_give_what_they_give_alone(backend):
    other = tiny_model({"hidden_size": 96}, seed=2)
    first, alone = make(backend, *tiny_model()), make(backend, *other)
    second = make(backend, *other, beside=first)
    for each in (first, alone, second):
        each.allocate_kv(4)
    expected = alone.run(STEP).logits
    first.run(STEP)
    assert np.array_equal(second.run(STEP).logits, expected)
    first.close()
    assert np.array_equal(second.run(STEP).logits, expected)


@pytest.mark.parametrize("weight_format", [WeightFormat.F32, WeightFormat.Q4_1])
@pytest.mark.parametrize("tied", [False, True])
def test_a_shortcut_reads_the_keys_and_values_of_the_whole_model(backend, tied, weight_format):
    model = tiny_model(FOUR_LAYERS | {"tied_head": tied}, weight_format=weight_format)
    whole = make(backend, *model)
    same = make(backend, *model, ALL, beside=whole, share_kv=True)
    whole.allocate_kv(4)
    whole.run(STEP)
    step = make_step([Part([7], 20, [[2, 0]])])
    assert np.array_equal(same.run(step).logits, whole.run(step).logits)


def test_a_shortcut_knows_the_first_tokens_only(backend):
    model = tiny_model(FOUR_LAYERS)
    whole = make(backend, *model)
    first = make(backend, *model, Shortcut((0, 1, 2, 3), 40), beside=whole, share_kv=True)
    whole.allocate_kv(4)
    logits = first.run(STEP).logits
    assert np.array_equal(logits, whole.run(STEP).logits[:, :40])


def test_a_shortcut_leaves_layers_out(backend):
    model = tiny_model(FOUR_LAYERS)
    whole = make(backend, *model)
    part = make(backend, *model, Shortcut((0, 3), 160), beside=whole, share_kv=True)
    whole.allocate_kv(4)
    logits = part.run(STEP).logits
    assert np.isfinite(logits).all()
    assert not np.allclose(logits, whole.run(STEP).logits)


def test_shared_weights_are_packed_once():
    native = pytest.importorskip("legato.backends.native")
    model = tiny_model(FOUR_LAYERS)
    whole = make("native", *model)
    part = make("native", *model, Shortcut((0, 3), 48), beside=whole, share_kv=True)
    assert isinstance(whole, native.NativeBackend)
    assert isinstance(part, native.NativeBackend)
    assert whole.weight_bytes > 0
    assert part.weight_bytes == 0


def test_a_pool_is_shared_only_between_programs_of_one_layout(backend):
    whole = make(backend, *tiny_model(FOUR_LAYERS))
    with pytest.raises(BackendError, match="one layout"):
        make(backend, *tiny_model(), beside=whole, share_kv=True)


def test_kinds_of_backends_do_not_mix():
    pytest.importorskip("legato._native")
    whole = make("reference", *tiny_model())
    with pytest.raises(BackendError, match="shares nothing with a reference"):
        make("native", *tiny_model(), beside=whole)

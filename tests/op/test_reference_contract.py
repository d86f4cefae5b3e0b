"""The reference backend refuses a step that breaks the contract, and says which field does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from legato.backends.base import StepInput
from legato.backends.reference import ReferenceBackend
from legato.backends.registry import create_backend
from legato.config import EngineConfig
from legato.errors import BackendError
from legato.program.build import build_program
from model.tiny import tiny_model
from op.steps import Part, make_step, sampling_input

CONFIG = EngineConfig(backend="reference")


def new_backend() -> ReferenceBackend:
    arch, weights = tiny_model()
    program = build_program(arch, weights, block_size=16, kv_dtype="f32", max_context=64)
    backend = create_backend(program, weights, CONFIG)
    assert isinstance(backend, ReferenceBackend)
    return backend


@pytest.fixture(scope="module")
def backend() -> ReferenceBackend:
    backend = new_backend()
    backend.allocate_kv(8)
    return backend


def good_step() -> StepInput:
    return make_step([Part([1, 2, 3], 0, [[0]]), Part([4], 17, [[2, 3]])])


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_the_unbroken_step_runs(backend):
    assert backend.run(good_step()).logits.shape == (4, 160)
    assert backend.name == "reference"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"token_ids": i32(1, 2, 160, 4)}, "token_ids"),
        ({"token_ids": i32(1, 2, -1, 4)}, "token_ids"),
        ({"token_ids": i32(), "positions": i32()}, "token_ids is empty"),
        ({"token_ids": i32(1, 2, 3)}, "positions"),
        ({"positions": i32(0, 2, 1, 17)}, "positions"),
        ({"positions": i32(0, 1, 2, 16)}, "positions"),
        ({"kv_lengths": i32(2, 18)}, "positions"),
        ({"kv_lengths": i32(3)}, "kv_lengths"),
        ({"query_starts": i32(0, 3, 3)}, "query_starts"),
        ({"query_starts": i32(0, 2, 3)}, "query_starts"),
        ({"query_starts": i32(1, 3, 4)}, "query_starts"),
        ({"output_rows": i32(0, 4)}, "output_rows"),
        ({"output_rows": i32(2, 1)}, "output_rows"),
        ({"block_tables": np.array([[[0, -1], [2, -1]]], np.int32)}, "block_tables[0, 1"),
        ({"block_tables": np.array([[[8, -1], [2, 3]]], np.int32)}, "block_tables[0, 0"),
        ({"block_tables": np.array([[[0], [2]]], np.int32)}, "block_tables[0, 1"),
        ({"sampling": sampling_input(3, 160)}, "sampling has 3 rows"),
    ],
)
def test_a_broken_field_is_named(backend, changes, word):
    with pytest.raises(BackendError) as failure:
        backend.run(replace(good_step(), **changes))
    assert word in str(failure.value)


def test_a_sequence_beyond_the_context_is_refused(backend):
    with pytest.raises(BackendError, match="context of 64"):
        backend.run(make_step([Part([1], 64, [[0, 1, 2, 3, 4]])]))


def test_the_pool_must_be_allocated_and_only_once():
    backend = new_backend()
    with pytest.raises(BackendError, match="allocate_kv"):
        backend.run(good_step())
    backend.allocate_kv(8)
    with pytest.raises(BackendError, match="already"):
        backend.allocate_kv(8)


def test_logits_come_only_when_asked_for(backend):
    step = replace(good_step(), want_logits=False, sampling=sampling_input(4, 160))
    output = backend.run(step)
    assert output.logits is None
    assert output.token_ids.shape == (4,)


def test_close_is_idempotent():
    backend = new_backend()
    backend.close()
    backend.close()


def test_a_config_for_another_backend_is_refused():
    arch, weights = tiny_model()
    program = build_program(arch, weights, block_size=16, kv_dtype="f32", max_context=64)
    with pytest.raises(BackendError, match="native"):
        ReferenceBackend(program, weights, EngineConfig(backend="native"))

"""Every backend refuses a step that breaks the contract, and says which field does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from legato.backends.base import Backend
from legato.backends.registry import create_backend
from legato.config import EngineConfig
from legato.errors import BackendError
from legato.program.build import build_program
from model.tiny import tiny_model
from op.steps import Part, good_step, i32, make_step, sampling_input


def new_backend(name: str) -> Backend:
    arch, weights = tiny_model()
    program = build_program(arch, weights, block_size=16, kv_dtype="f32", max_context=64)
    config = EngineConfig(backend=name, kv_dtype="f32", num_threads=2)
    return create_backend(program, weights, config)


@pytest.fixture(scope="module", params=["reference", "native"])
def name(request: pytest.FixtureRequest) -> str:
    if request.param == "native":
        pytest.importorskip("legato._native")
    return request.param


@pytest.fixture(scope="module")
def backend(name: str) -> Iterator[Backend]:
    backend = new_backend(name)
    backend.allocate_kv(8)
    yield backend
    backend.close()


def test_the_unbroken_step_runs(backend, name):
    assert backend.run(good_step()).logits.shape == (4, 160)
    assert backend.name.startswith(name)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"token_ids": i32(1, 2, 160, 4)}, "token_ids"),
        ({"token_ids": i32(1, 2, -1, 4)}, "token_ids"),
        ({"token_ids": i32(), "positions": i32()}, "token_ids is empty"),
        ({"token_ids": i32(1, 2, 3)}, "positions"),
        ({"positions": i32(0, 2, 1, 17)}, "positions"),
        ({"positions": i32(0, 1, 2, 16)}, "positions"),
        ({"kv_lengths": i32(3)}, "kv_lengths"),
        ({"query_starts": i32(0, 3, 3)}, "query_starts"),
        ({"query_starts": i32(0, 5, 4)}, "query_starts"),
        ({"query_starts": i32(0, 2, 3)}, "query_starts"),
        ({"query_starts": i32(1, 3, 4)}, "query_starts"),
        ({"output_rows": i32(0, 4)}, "output_rows"),
        ({"output_rows": i32(2, 1)}, "output_rows"),
        ({"block_tables": i32(0, -1, 2, -1).reshape(1, 2, 2)}, "block_tables[0, 1"),
        ({"block_tables": i32(8, -1, 2, 3).reshape(1, 2, 2)}, "block_tables[0, 0"),
        ({"block_tables": i32(0, 2).reshape(1, 2, 1)}, "block_tables[0, 1"),
    ],
)
def test_a_broken_field_is_named(backend, changes, word):
    with pytest.raises(BackendError) as failure:
        backend.run(replace(good_step(), **changes))
    assert word in str(failure.value)


def test_a_sequence_beyond_the_context_is_refused(backend):
    with pytest.raises(BackendError, match="context of 64"):
        backend.run(make_step([Part([1], 64, [[0, 1, 2, 3, 4]])]))


def test_a_step_after_a_refused_one_runs(backend):
    expected = backend.run(good_step()).logits
    with pytest.raises(BackendError):
        backend.run(replace(good_step(), output_rows=i32(9)))
    np.testing.assert_array_equal(backend.run(good_step()).logits, expected)


def test_logits_come_only_when_asked_for(backend):
    step = replace(good_step(), want_logits=False, sampling=sampling_input(4, 160))
    output = backend.run(step)
    assert output.logits is None
    assert output.token_ids.shape == (4,)


def test_the_pool_must_be_allocated_and_only_once(name):
    backend = new_backend(name)
    with pytest.raises(BackendError, match="allocate_kv"):
        backend.run(good_step())
    backend.allocate_kv(8)
    with pytest.raises(BackendError, match="already"):
        backend.allocate_kv(8)
    backend.close()

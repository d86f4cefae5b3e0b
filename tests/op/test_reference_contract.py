"""What the reference backend alone refuses; `test_step_contract` has the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from legato.backends.reference import ReferenceBackend
from legato.config import EngineConfig
from legato.errors import BackendError
from legato.program.build import build_program
from model.tiny import tiny_model
from op.steps import good_step, i32, sampling_input

CONFIG = EngineConfig(backend="reference", kv_dtype="f32")


def new_backend(config: EngineConfig = CONFIG) -> ReferenceBackend:
    arch, weights = tiny_model()
    program = build_program(arch, weights, block_size=16, kv_dtype="f32", max_context=64)
    return ReferenceBackend(program, weights, config)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"kv_lengths": i32(2, 18)}, "positions"),
        ({"sampling": sampling_input(3, 160)}, "sampling has 3 rows"),
    ],
)
def test_a_broken_field_is_named_as_the_reference_finds_it(changes, word):
    backend = new_backend()
    backend.allocate_kv(8)
    with pytest.raises(BackendError) as failure:
        backend.run(replace(good_step(), **changes))
    assert word in str(failure.value)


def test_closing_twice_is_closing_once():
    backend = new_backend()
    backend.close()
    backend.close()


def test_a_config_for_another_backend_is_refused():
    with pytest.raises(BackendError, match="native"):
        new_backend(EngineConfig(backend="native"))

"""What the head reads is returned where a step asks for it, on every backend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from legato.backends.base import Backend, StepInput, StepOutput
from legato.dequantize import dequantize
from legato.errors import BackendError
from legato.program.build import build_program
from model.tiny import VARIATIONS, f32_tensor, tiny_model
from op.programs import embed_program
from op.steps import Part, make_step, sampling_input

DIM, VOCAB = 64, 160
BLOCKS = [[0, 1, 2], [3, 4, 5]]
PROMPT = np.random.default_rng(7).integers(0, VOCAB, 40).tolist()


def prompt_step(*, outputs: list[int] | None = None, logits: bool = False) -> StepInput:
    step = make_step([Part(PROMPT, 0, BLOCKS)], outputs=outputs)
    return replace(step, want_logits=logits, want_hidden=True)


def model(name: str):
    arch, weights = tiny_model(VARIATIONS[name])
    return build_program(arch, weights, block_size=16, kv_dtype="f32", max_context=64), weights


def run(backend: Backend, program, step: StepInput) -> StepOutput:
    return backend.run(replace(step, block_tables=step.block_tables[: len(program.kv.groups)]))


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_the_head_maps_hidden_states_to_the_logits_of_the_step(make_backend, name):
    program, weights = model(name)
    output = run(make_backend(program, weights), program, prompt_step(logits=True))
    head = dequantize(weights.get("head.weight", weights["embed.weight"]))
    logits = output.hidden @ head.T
    cap = tiny_model(VARIATIONS[name])[0].logit_soft_cap
    if cap is not None:
        logits = cap * np.tanh(logits / cap)
    np.testing.assert_allclose(output.logits, logits, atol=0.05)


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_hidden_states_are_near_those_of_the_reference(make_backend, make_reference, name):
    program, weights = model(name)
    found, expected = (
        run(make(program, weights), program, prompt_step()).hidden
        for make in (make_backend, make_reference)
    )
    assert found.shape == (len(PROMPT), DIM)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_hidden_states_are_the_same_bits_without_the_head_and_of_fewer_rows(make_backend):
    program, weights = model("gemma2")
    backend = make_backend(program, weights)
    alone = run(backend, program, prompt_step())
    assert alone.logits is None
    assert len(alone.token_ids) == 0
    beside = run(backend, program, prompt_step(logits=True))
    some = run(backend, program, prompt_step(outputs=[3, 39]))
    np.testing.assert_array_equal(alone.hidden, beside.hidden)
    np.testing.assert_array_equal(alone.hidden[[3, 39]], some.hidden)


def test_hidden_states_beside_sampling_change_no_token(make_backend):
    program, weights = model("llama")
    backend = make_backend(program, weights)
    sampling = sampling_input(2, VOCAB, temperature=1.0, position=[4, 40])
    step = replace(prompt_step(outputs=[3, 39]), sampling=sampling)
    both = run(backend, program, step)
    plain = run(backend, program, replace(step, want_hidden=False))
    assert plain.hidden is None
    assert both.hidden.shape == (2, DIM)
    np.testing.assert_array_equal(both.token_ids, plain.token_ids)


def test_a_program_without_a_head_has_no_hidden_states(make_backend):
    table = f32_tensor("table", np.eye(DIM))
    step = replace(make_step([Part([1], 0, [[0]])]), want_hidden=True)
    with pytest.raises(BackendError, match="want_hidden"):
        make_backend(*embed_program(table)).run(step)

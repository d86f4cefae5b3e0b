"""A request's logits and tokens are the same bits whatever runs beside it, however it is cut."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from legato.program.build import build_program
from legato.program.program import Program
from legato.tensor import Tensor, WeightFormat
from model.tiny import VARIATIONS, tiny_model
from op.steps import Part, make_step, sampling_input

BLOCKS_EACH = 4  # per sequence and group


@cache
def model(name: str, weight_format: WeightFormat) -> tuple[Program, dict[str, Tensor]]:
    arch, weights = tiny_model(VARIATIONS[name], weight_format=weight_format)
    program = build_program(arch, weights, block_size=16, kv_dtype="f16", max_context=64)
    return program, weights


def tables(program: Program, slot: int) -> list[list[int]]:
    """Blocks of the sequence in that slot."""
    groups = len(program.kv.groups)
    first = slot * groups * BLOCKS_EACH
    return np.arange(first, first + groups * BLOCKS_EACH).reshape(groups, -1).tolist()


def alone(backend, program: Program, prompt: list[int]) -> np.ndarray:
    """Logits of every token of the prompt, in one step by itself."""
    return backend.run(make_step([Part(prompt, 0, tables(program, 0))])).logits


def scheduled(
    backend, program: Program, prompts: list[list[int]], schedule: list[list[int]]
) -> list[np.ndarray]:
    """Logits of each prompt; step i feeds schedule[i][s] more tokens of prompt s, if it has any."""
    done = [0] * len(prompts)
    rows: list[list[np.ndarray]] = [[] for _ in prompts]
    for counts in [*schedule, [64] * len(prompts)]:
        parts, owners = [], []
        for s, (prompt, count) in enumerate(zip(prompts, counts, strict=True)):
            if tokens := prompt[done[s] : done[s] + count]:
                parts.append(Part(tokens, done[s], tables(program, s)))
                owners += [s] * len(tokens)
                done[s] += len(tokens)
        logits = backend.run(make_step(parts)).logits if parts else []
        for owner, row in zip(owners, logits, strict=True):
            rows[owner].append(row)
    return [np.stack(r) for r in rows]


def random_prompts(*lengths: int) -> list[list[int]]:
    rng = np.random.default_rng(sum(lengths))
    return [rng.integers(0, 160, length).tolist() for length in lengths]


@pytest.mark.parametrize("weight_format", [WeightFormat.F32, WeightFormat.Q4_1, WeightFormat.Q8_0])
@pytest.mark.parametrize("name", VARIATIONS)
def test_every_architecture_is_invariant_to_batch_and_chunks(make_backend, name, weight_format):
    program, weights = model(name, weight_format)
    backend = make_backend(program, weights)
    prompts = random_prompts(50, 1, 33, 17, 8)
    expected = [alone(backend, program, prompt) for prompt in prompts]
    schedule = [[3, 0, 16, 1, 8], [1, 0, 1, 16, 0], [30, 1, 2, 0, 0], [1, 0, 1, 0, 0]]
    actual = scheduled(backend, program, prompts, schedule)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(data=st.data())
def test_any_schedule_gives_the_same_bits(make_backend, data):
    program, weights = model("gemma3", WeightFormat.Q4_0)
    backend = make_backend(program, weights)
    prompts = random_prompts(*data.draw(st.lists(st.integers(1, 64), min_size=1, max_size=4)))
    counts = st.lists(st.integers(0, 20), min_size=len(prompts), max_size=len(prompts))
    schedule = data.draw(st.lists(counts, max_size=5))
    expected = [alone(backend, program, prompt) for prompt in prompts]
    for a, b in zip(scheduled(backend, program, prompts, schedule), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("weight_format", [WeightFormat.F32, WeightFormat.Q4_1])
@pytest.mark.parametrize("name", ["gemma2", "qwen3"])
def test_a_step_of_hundreds_of_rows_gives_the_bits_of_each_prompt_alone(
    make_backend, name, weight_format
):
    """So many rows that a thread takes a tile of them through a whole stage."""
    program, weights = model(name, weight_format)
    backend = make_backend(program, weights)
    prompts = random_prompts(64, 61, 50, 64)
    expected = [alone(backend, program, prompt) for prompt in prompts]
    for a, b in zip(scheduled(backend, program, prompts, []), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_change_no_bit(make_backend):
    program, weights = model("gemma2", WeightFormat.Q5_1)
    prompt = random_prompts(60)[0]
    one, two = (
        alone(make_backend(program, weights, num_threads=threads), program, prompt)
        for threads in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


def test_only_the_rows_asked_for_have_logits_of_the_same_bits(make_backend):
    program, weights = model("llama", WeightFormat.Q4_1)
    backend = make_backend(program, weights)
    prompt = random_prompts(40)[0]
    part = Part(prompt, 0, tables(program, 0))
    some = backend.run(make_step([part], outputs=[3, 39])).logits
    np.testing.assert_array_equal(some, alone(backend, program, prompt)[[3, 39]])


def test_sampled_tokens_are_those_of_the_sequence_alone(make_backend):
    """Four sequences decoded together for eight steps, and each by itself."""
    program, weights = model("qwen3", WeightFormat.Q4_0)
    prompts = random_prompts(9, 20, 5, 13)

    def generate(slots: list[int]) -> list[list[int]]:
        backend = make_backend(program, weights)
        texts = {s: list(prompts[s]) for s in slots}
        fresh = {s: list(prompts[s]) for s in slots}
        for _ in range(8):
            parts = [
                Part(fresh[s], len(texts[s]) - len(fresh[s]), tables(program, s)) for s in slots
            ]
            lengths = [len(texts[s]) for s in slots]
            sampling = sampling_input(
                len(slots), 160, temperature=1.0, top_p=0.95, seed=slots, position=lengths
            )
            ends = np.cumsum([len(part.tokens) for part in parts]) - 1
            chosen = backend.run(make_step(parts, outputs=ends, sampling=sampling)).token_ids
            fresh = {s: [int(token)] for s, token in zip(slots, chosen, strict=True)}
            for s in slots:
                texts[s] += fresh[s]
        return [texts[s][len(prompts[s]) :] for s in slots]

    together = generate([0, 1, 2, 3])
    assert together == [generate([s])[0] for s in range(4)]


@pytest.mark.parametrize("name", VARIATIONS)
@pytest.mark.parametrize(
    ("weight_format", "precision", "tolerance"),
    [
        (WeightFormat.F32, "exact", 1e-3),  # an f16 cache rounds differently now and then
        (WeightFormat.F32, "balanced", 1e-2),  # bf16 products in attention
        (WeightFormat.Q4_1, "exact", 2e-3),
        (WeightFormat.Q4_1, "balanced", 5e-2),
    ],
)
def test_logits_are_near_those_of_the_reference(
    make_backend, make_reference, name, weight_format, precision, tolerance
):
    program, weights = model(name, weight_format)
    prompt = random_prompts(48)[0]
    actual = alone(make_backend(program, weights, precision=precision), program, prompt)
    expected = alone(make_reference(program, weights), program, prompt)
    assert np.linalg.norm(actual - expected) <= tolerance * np.linalg.norm(expected)

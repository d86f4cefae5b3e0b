"""What the native backend alone promises and refuses; `test_step_contract` has the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from legato.config import EngineConfig
from legato.errors import BackendError, CapacityError
from legato.program.build import build_program
from legato.tensor import WeightFormat
from model.tiny import tiny_model
from op.steps import Part, good_step, i32, make_step, sampling_input

native = pytest.importorskip("legato.backends.native")


def new_backend(**config: object):
    arch, weights = tiny_model()
    program = build_program(arch, weights, block_size=16, kv_dtype="f32", max_context=64)
    return native.NativeBackend(
        program, weights, EngineConfig(**{"kv_dtype": "f32", "num_threads": 2, **config})
    )


@pytest.fixture(scope="module")
def backend() -> Iterator:
    backend = new_backend()
    backend.allocate_kv(8)
    yield backend
    backend.close()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"token_ids": np.array([1, 2, 3, 4])}, "token_ids must be a contiguous array of i32"),
        ({"token_ids": i32(1, 2, 3, 4, 5, 6, 7, 8)[::2]}, "token_ids must be a contiguous"),
        ({"token_ids": [1, 2, 3, 4]}, "token_ids"),
        ({"kv_lengths": i32(2, 18)}, "kv_lengths of sequence 0"),
        ({"block_tables": i32(0, -1, 2, 3).reshape(2, 2)}, "block_tables"),
        ({"block_tables": np.zeros((2, 2, 2), np.int32)}, "block_tables has 2 groups"),
        ({"sampling": sampling_input(3, 160)}, "temperature has 3 entries, expected 4"),
    ],
)
def test_a_broken_field_is_named(backend, changes, word):
    with pytest.raises(BackendError) as failure:
        backend.run(replace(good_step(), **changes))
    assert word in str(failure.value)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"bias_ids": i32(160), "bias_values": np.ones(1, np.float32)}, "bias_starts"),
        (
            {
                "bias_starts": i32(0, 1, 1, 1, 1),
                "bias_ids": i32(160),
                "bias_values": np.ones(1, np.float32),
            },
            "bias_ids",
        ),
        ({"bias_starts": i32(0, 2, 1, 0, 0)}, "bias_starts"),
        ({"seen_starts": i32(0, 0, 0, 0, 9)}, "seen_starts"),
        ({"mask_index": i32(0, -1, -1, -1)}, "mask_index"),
        ({"num_logprobs": i32(161, 0, 0, 0)}, "num_logprobs"),
        ({"num_logprobs": i32(-2, 0, 0, 0)}, "num_logprobs"),
        ({"seed": np.zeros(4, np.int64)}, "seed must be a contiguous array of u64"),
    ],
)
def test_a_broken_sampling_field_is_named(backend, changes, word):
    sampling = replace(sampling_input(4, 160), **changes)
    with pytest.raises(BackendError) as failure:
        backend.run(replace(good_step(), sampling=sampling))
    assert word in str(failure.value)


def test_a_step_without_outputs_fills_the_cache(backend):
    rest = make_step([Part([5], 3, [[0]])])
    whole = backend.run(make_step([Part([1, 2, 3, 5], 0, [[0]])], outputs=[3])).logits
    empty = backend.run(make_step([Part([7, 7, 7], 0, [[0]])], outputs=[]))
    assert empty.logits.shape == (0, 160)
    backend.run(make_step([Part([1, 2, 3], 0, [[0]])], outputs=[]))
    np.testing.assert_array_equal(backend.run(rest).logits, whole)


def test_more_rows_than_the_scratch_was_made_for_run_too(backend):
    step = make_step([Part(range(40), 0, [[0, 1, 2]])])
    small = new_backend(max_batch_tokens=8, max_sequences=2)
    small.allocate_kv(8)
    np.testing.assert_array_equal(small.run(step).logits, backend.run(step).logits)
    small.close()


@pytest.mark.parametrize(("sources", "targets"), [([0], [8]), ([-1], [0]), ([0, 1], [2])])
def test_blocks_outside_the_pool_are_not_copied(backend, sources, targets):
    with pytest.raises(BackendError, match="cannot copy KV blocks"):
        backend.copy_blocks(sources, targets)


@pytest.mark.parametrize("blocks", [1 << 30, 1 << 40])
def test_a_pool_beyond_the_memory_is_a_capacity_error(blocks):
    backend = new_backend()
    with pytest.raises(CapacityError, match="ask for fewer"):
        backend.allocate_kv(blocks)
    backend.close()


def test_a_closed_backend_says_so_and_closes_again():
    backend = new_backend()
    backend.allocate_kv(1)
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.run(good_step())


def test_a_kv_type_that_the_program_was_not_built_for_is_refused():
    with pytest.raises(BackendError, match="kv_dtype"):
        new_backend(kv_dtype="f16")


def test_an_instruction_set_that_the_cpu_lacks_is_refused(monkeypatch):
    runtime = pytest.importorskip("legato._native")
    monkeypatch.setattr(runtime, "supports", lambda simd: False)
    with pytest.raises(BackendError, match="this CPU has no avx512"):
        new_backend(simd="avx512")


def test_a_forced_instruction_set_is_in_the_name():
    backend = new_backend(simd="portable")
    assert backend.name == "native/portable"
    backend.close()


def test_more_precision_is_nearer_to_the_weights():
    """Error of the logits against precision "exact" falls from fast over balanced."""
    arch, weights = tiny_model(weight_format=WeightFormat.Q4_1)
    program = build_program(arch, weights, block_size=16, kv_dtype="f32", max_context=64)
    logits = {}
    for precision in ("fast", "balanced", "exact"):
        config = EngineConfig(kv_dtype="f32", num_threads=1, precision=precision)
        backend = native.NativeBackend(program, weights, config)
        backend.allocate_kv(4)
        logits[precision] = backend.run(make_step([Part(range(40), 0, [[0, 1, 2]])])).logits
        backend.close()
    errors = [np.linalg.norm(logits[p] - logits["exact"]) for p in ("fast", "balanced")]
    assert errors[0] >= errors[1] > 0


def test_profile_has_every_instruction_and_starts_again(backend):
    backend.start_profile()
    backend.run(good_step())
    profile = backend.profile()
    assert profile[0].kind == "prologue"
    assert {"embed", "linear", "attention", "sample"} <= {part.kind for part in profile}
    assert sum(part.nanoseconds for part in profile) > 0
    assert all(part.weight_bytes > 0 for part in profile if part.kind == "linear")
    backend.start_profile()
    assert sum(part.nanoseconds for part in backend.profile()) == 0


def test_a_step_whose_arrays_were_written_again_is_a_new_step(backend):
    step = make_step([Part([1, 2, 3], 0, [[0]])])
    other = make_step([Part([5, 2, 9], 0, [[4]])])
    expected = backend.run(other).logits
    backend.run(step)
    step.token_ids[:] = other.token_ids
    step.block_tables[:] = other.block_tables
    np.testing.assert_array_equal(backend.run(step).logits, expected)


def test_a_step_that_is_written_wrongly_is_refused_each_time(backend):
    step = good_step()
    expected = backend.run(step).logits
    step.token_ids[0] += 1000
    for _ in range(2):
        with pytest.raises(BackendError, match="vocabulary"):
            backend.run(step)
    step.token_ids[0] -= 1000
    np.testing.assert_array_equal(backend.run(step).logits, expected)


def test_a_step_that_could_not_be_read_is_read_again(backend):
    step = make_step([Part([1, 2, 3], 0, [[0]])])
    expected = backend.run(step).logits
    object.__setattr__(step, "positions", step.positions.astype(np.int64))
    backend.run(good_step())
    with pytest.raises(BackendError, match="positions must be a contiguous array"):
        backend.run(step)
    object.__setattr__(step, "positions", step.positions.astype(np.int32))
    np.testing.assert_array_equal(backend.run(step).logits, expected)


def test_rows_that_ask_for_no_logprobs_have_none_whatever_others_asked(backend):
    asking = make_step([Part([1, 2, 3], 0, [[0]])], outputs=[2])
    plain = replace(asking, sampling=sampling_input(1, 160))
    asking = replace(asking, sampling=replace(sampling_input(1, 160), num_logprobs=i32(2)))
    for step, width in ((plain, 0), (asking, 2), (plain, 0)):
        output = backend.run(step)
        assert output.top_ids.shape == output.top_logprobs.shape == (1, width)
        assert np.isnan(output.logprobs).tolist() == [not width]

"""Predictions for machines that are not here, against numbers worked by hand and published ones."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from typer.testing import CliRunner

from legato.cli.main import app
from legato.errors import InvalidRequestError
from legato.plan.architectures import CONFIGS, hollow_program
from legato.plan.hardware import HARDWARE, Hardware, find_hardware
from legato.plan.speculate import Load, plan_speculation, tokens_per_step
from legato.plan.steps import decode_s, kv_bytes, num_layers, weights_bytes
from legato.tensor import WeightFormat

ROUND = Hardware(
    name="round",
    bandwidth=1e12,
    peak_flops=1e15,
    memory=20e9,
    efficiency=0.5,
    compute_efficiency=0.1,
    layer_s=1e-4,
    sources=("none", "none"),
)
INF2 = find_hardware("inf2.48xlarge")


@pytest.fixture(scope="module")
def small():
    return hollow_program("llama-2-7b")


@pytest.fixture(scope="module")
def large():
    return hollow_program("llama-2-70b")


def test_published_sizes_come_out(small, large):
    assert weights_bytes(small) / 2 == pytest.approx(6.738e9, rel=1e-3)
    assert weights_bytes(large) / 2 == pytest.approx(68.98e9, rel=1e-3)
    assert num_layers(large) == 80
    assert kv_bytes(large, 4096) == 4096 * 80 * 2 * 8 * 128 * 2
    assert kv_bytes(small, 1) == 16 * 32 * 2 * 32 * 128 * 2


@pytest.mark.parametrize(("name", "median_ms"), [("llama-2-70b", 20.6), ("llama-2-7b", 3.7)])
def test_inferentia_comes_near_the_published_medians(name, median_ms):
    program = hollow_program(name)
    ms = 1e3 * decode_s(program, INF2, batch=1, rows=1, context=512)
    assert ms == pytest.approx(median_ms, rel=0.02)


def test_a_small_step_reads_and_a_wide_one_computes(small):
    embedding, row = 32000 * 4096 * 2, 4096 * 2
    read = weights_bytes(small) - embedding + row + kv_bytes(small, 16) / 16  # nothing cached
    narrow = decode_s(small, ROUND, batch=1, rows=1, context=0)
    assert narrow == pytest.approx((read + kv_bytes(small, 16) / 16) / 0.5e12 + 32e-4, rel=1e-3)
    multiplied = 2 * (weights_bytes(small) - embedding) / 2
    wide = decode_s(small, ROUND, batch=1, rows=1000, context=0)
    assert wide == pytest.approx(1000 * multiplied / 1e14 + 32e-4, rel=0.05)


@pytest.mark.parametrize(
    ("acceptance", "k", "tokens"), [(0.5, 1, 1.5), (0.5, 2, 1.75), (1.0, 4, 5.0), (0.0, 9, 1.0)]
)
def test_tokens_a_step_by_hand(acceptance, k, tokens):
    assert tokens_per_step(acceptance, k) == tokens


def test_gain_is_tokens_over_the_time_of_drafting_and_verifying(small, large):
    plan = plan_speculation(large, small, INF2, 0.7, Load())
    for depth in plan.depths:
        assert depth.tokens == pytest.approx((1 - 0.7 ** (depth.k + 1)) / 0.3)
        verify_ms = depth.step_ms - depth.k * plan.draft_ms
        assert plan.target_ms * 0.999 <= verify_ms <= 1.05 * plan.target_ms
        assert depth.gain == pytest.approx(depth.tokens * plan.target_ms / depth.step_ms)
    assert plan.best.k == 3  # 2.533 tokens in 3 x 3.7 + 20.7 ms; 2 and 4 give less
    assert plan.best.gain == pytest.approx(2.533 * 20.7 / (3 * 3.7 + 20.7), rel=0.02)


def test_no_drafts_are_the_plan_where_they_cannot_win(small, large):
    assert plan_speculation(large, small, INF2, 0.0, Load()).best.k == 0
    assert plan_speculation(large, large, INF2, 0.9, Load()).best.k == 0


def test_better_drafts_go_deeper_and_full_batches_less_deep(small, large):
    best = [plan_speculation(large, small, INF2, a / 10, Load()).best.k for a in range(11)]
    assert all(one <= other for one, other in pairwise(best))
    full = plan_speculation(large, small, find_hardware("l4"), 0.8, Load(batch=256))
    assert full.best.k < best[8]


def test_memory_counts_both_models_and_their_cache(small, large):
    plan = plan_speculation(large, small, INF2, 0.7, Load(batch=4, context=4095), range(1))
    assert plan.target_bytes + plan.draft_bytes == weights_bytes(large) + weights_bytes(small)
    assert plan.kv_bytes == 4 * (kv_bytes(large, 4096) + kv_bytes(small, 4096))
    assert plan.fits
    assert not plan_speculation(large, small, ROUND, 0.7, Load()).fits


def test_quantised_weights_take_less_of_both(small):
    quantised = hollow_program("llama-2-7b", WeightFormat.Q4_1)
    assert weights_bytes(quantised) == pytest.approx(weights_bytes(small) * 5 / 16, rel=0.01)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_known_architecture_has_a_program(name):
    assert weights_bytes(hollow_program(name)) > 0


def test_a_config_file_is_an_architecture_too(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["llama-2-7b"]))
    for path in (tmp_path, tmp_path / "config.json"):
        assert weights_bytes(hollow_program(str(path))) == weights_bytes(
            hollow_program("llama-2-7b")
        )


def test_what_is_unknown_is_refused_with_what_is_known():
    with pytest.raises(InvalidRequestError, match="llama-2-70b"):
        hollow_program("llama-9")
    with pytest.raises(InvalidRequestError, match=r"inf2\.48xlarge"):
        find_hardware("abacus")


def test_all_machines_name_their_sources():
    for machine in HARDWARE.values():
        assert all(machine.sources)
        assert 0 < machine.efficiency <= 1
        assert 0 < machine.compute_efficiency <= 1


def test_the_command_prints_a_table_and_json():
    runner, arguments = CliRunner(), ["plan", "speculate", "--hardware", "inf2.48xlarge"]
    table = runner.invoke(app, arguments)
    assert table.exit_code == 0, table.output
    assert table.stdout.count("inf2.48xlarge") == 3
    document = json.loads(runner.invoke(app, [*arguments, "--json"]).stdout)
    assert [plan["best_k"] for plan in document["plans"]] == [2, 3, 4]
    assert document["hardware"]["inf2.48xlarge"]["sources"]


def test_an_unknown_weight_format_is_a_usage_error():
    result = CliRunner().invoke(app, ["plan", "speculate", "--weights", "q9"])
    assert result.exit_code == 2

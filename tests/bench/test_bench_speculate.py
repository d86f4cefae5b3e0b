"""The speculation benchmark: its workloads, its theory, and what it makes of runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from legato.bench.speculate import (
    Run,
    _result,
    copied_tokens,
    expected_tokens,
    load_workloads,
)
from legato.scheduler.stats import SpeculationFigures

PLAIN = Run(4.0, 100, 100, SpeculationFigures(), ("text",))
DRAFTS = SpeculationFigures(
    *(40, 80, 60, (40, 30), (40, 20)),
    drafter_ns=20_000_000,
    plain_ns=1.6e9,
    predicted_ns=2.0e9,
    expected_ns=2.0e9,
    earned_ns=2.4e9,
)
DRAFTING = Run(2.0, 100, 40, DRAFTS, ("text",), 0.5, 1_600_000_000)


def test_the_workloads_are_conversations_that_end_with_the_user():
    workloads = load_workloads()
    assert [w.name for w in workloads] == [
        "chat",
        "quote",
        "code edit",
        "JSON extraction",
        "agent log",
        "JSON records",
        "free quote",
        "free JSON",
    ]
    for workload in workloads:
        for conversation in workload.conversations:
            assert conversation[-1]["role"] == "user"
            assert all(message["content"] for message in conversation)


@pytest.mark.parametrize(("rate", "depth", "tokens"), [(0, 4, 1), (1, 4, 5), (0.5, 1, 1.5)])
def test_theory_at_known_points(rate, depth, tokens):
    assert expected_tokens(rate, depth) == tokens


def test_a_result_is_the_median_ratio_beside_theory():
    slow = replace(DRAFTING, seconds=4.0)
    result = _result(load_workloads()[0], 1, "suffix", [PLAIN] * 3, [DRAFTING, slow, DRAFTING])
    assert result.speedup == 2.0
    assert result.copied == 0.5
    assert result.tokens_per_s == 50.0
    assert result.acceptance == pytest.approx(60 / 70)
    assert result.drafted_per_step == 2.0
    assert result.acceptance_by_place == (1.0, pytest.approx(2 / 3))
    assert result.predicted_gain == pytest.approx((1.6 + 2.0) / 2.0)
    assert result.real_gain == pytest.approx((1.6 + 2.4) / 1.6)
    assert result.drafter_share == pytest.approx(0.01)
    step_ratio = (2.0 / 40) / (4.0 / 100)
    assert result.theory == pytest.approx(expected_tokens(60 / 70, 2.0) / step_ratio)


def test_tokens_count_as_copied_where_they_end_four_of_the_prompt():
    prompt = [1, 2, 3, 4, 5, 6]
    assert copied_tokens(prompt, [9, 2, 3, 4, 5, 9, 6]) == 1
    assert copied_tokens([7, *prompt, 1, 2, 3], [4, 5]) == 2
    assert copied_tokens(prompt, [9]) == 0

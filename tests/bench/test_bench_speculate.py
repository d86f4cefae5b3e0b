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
    measure_speculation,
)
from legato.bench.turns import answer_in_turns
from legato.clock import VirtualClock
from legato.engine import EngineStats
from legato.errors import LegatoError
from legato.scheduler.stats import SpeculationFigures
from legato.speculative.book import ReferenceBook
from legato.speculative.speculator import BatchSpeculator
from legato.speculative.suffix import SuffixDrafter
from null.fake_backend import make_engine

PLAIN = Run(4.0, 100, 100, SpeculationFigures(), ((1, 2),))
DRAFTS = SpeculationFigures(
    *(40, 80, 60, (40, 30), (40, 20)),
    drafter_ns=20_000_000,
    plain_ns=1.6e9,
    predicted_ns=2.0e9,
    expected_ns=2.0e9,
    earned_ns=2.4e9,
)
DRAFTING = Run(2.0, 100, 40, DRAFTS, ((1, 2),), 0.5, 1_600_000_000)


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


def test_a_result_is_the_ratio_of_all_rounds_beside_theory():
    slow = replace(DRAFTING, seconds=4.0)
    result = _result("quote", 1, "suffix", [PLAIN] * 3, [DRAFTING, slow, DRAFTING])
    assert result.speedup == 12 / 8
    assert result.typical == 2.0
    assert 1.0 <= result.low < 2.0 ** (2 / 3) < result.high <= 2.0
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


def test_engines_answer_equally_whoever_drafts_and_take_turns():
    clock, order, running = VirtualClock(), [], []
    prompts = [tuple(range(20)), tuple(range(5, 30)), tuple(range(9, 40))]
    engines = {name: make_engine()[0] for name in ("a", "b")}
    for name, engine in engines.items():
        step = engine.step

        def take_a_second(name=name, engine=engine, step=step):
            order.append(name)
            clock.advance(1_000_000_000)
            events = step()
            running.append(engine.stats().running)
            return events

        engine.step = take_a_second
    found = answer_in_turns(engines, prompts, 8, 2, clock=clock, turn_ns=2_000_000_000)
    assert order[:8] == ["a", "a", "b", "b", "b", "b", "a", "a"]
    assert found["a"].texts == found["b"].texts
    assert [len(text) for text in found["a"].texts] == [8, 8, 8]
    assert max(running) == 2
    assert found["a"].seconds == found["b"].seconds == order.count("a")


def test_answers_that_differ_or_are_missing_are_errors():
    class Silent:
        has_work = False

        def add(self, request) -> None:
            pass

        def stats(self) -> EngineStats:
            return EngineStats()

    with pytest.raises(LegatoError, match="answers nothing"):
        measure_speculation(
            {"off": Silent(), "suffix": Silent()}, "chat", [(1, 2)], 1, max_tokens=4, rounds=1
        )
    other, backend = make_engine()
    backend.spoil = lambda run, row: run > 3
    with pytest.raises(LegatoError, match="changed a text"):
        measure_speculation(
            {"off": make_engine()[0], "suffix": other},
            "chat",
            [tuple(range(20))],
            2,
            max_tokens=8,
            rounds=1,
        )


def test_what_drafts_nothing_is_measured_as_equal():
    speculator = BatchSpeculator(ReferenceBook(SuffixDrafter()))
    engines = {"off": make_engine()[0], "suffix": make_engine(speculator=speculator)[0]}
    prompts = [tuple(range(20)), tuple(range(5, 30)), tuple(range(9, 40))]
    (result,) = measure_speculation(engines, "chat", prompts, 2, max_tokens=16, rounds=2)
    assert (result.workload, result.batch, result.drafter) == ("chat", 2, "suffix")
    assert result.low <= result.high
    assert result.speedup > 0


def test_tokens_count_as_copied_where_they_end_four_of_the_prompt():
    prompt = [1, 2, 3, 4, 5, 6]
    assert copied_tokens(prompt, [9, 2, 3, 4, 5, 9, 6]) == 1
    assert copied_tokens([7, *prompt, 1, 2, 3], [4, 5]) == 2
    assert copied_tokens(prompt, [9]) == 0

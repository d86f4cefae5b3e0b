"""Streams of requests: functions of their seed, with the statistics that they claim."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from legato.bench.arrivals import (
    Arrivals,
    Constant,
    Gamma,
    Users,
    WorkloadError,
    parse_arrivals,
    poisson,
)
from legato.bench.lengths import Fixed, Lognormal, Uniform, parse_lengths
from legato.bench.workload import Conversation, Workload

COUNT = 4000


def take(workload: Workload, count: int = 20) -> list[Conversation]:
    return list(islice(workload.conversations(), count))


def gaps(arrivals: Arrivals) -> np.ndarray:
    times = list(islice(arrivals.times(np.random.default_rng(1)), COUNT))
    return np.diff([0.0, *times])


@pytest.mark.parametrize("cv", [0.3, 1.0, 3.0])
def test_gamma_gaps_have_their_mean_and_coefficient_of_variation(cv: float) -> None:
    found = gaps(Gamma(5.0, cv))
    assert found.mean() == pytest.approx(0.2, rel=5 * cv / COUNT**0.5)
    assert found.std() / found.mean() == pytest.approx(cv, rel=0.15)


def test_poisson_counts_have_the_variance_of_their_mean() -> None:
    times = np.cumsum(gaps(poisson(10.0)))
    counts = np.histogram(times, bins=np.arange(0, times[-1], 1.0))[0]
    assert counts.var() / counts.mean() == pytest.approx(1, rel=0.3)


def test_constant_arrivals_are_evenly_spaced() -> None:
    assert list(islice(Constant(4).times(np.random.default_rng(0)), 3)) == [0, 0.25, 0.5]


def test_lengths_have_their_statistics() -> None:
    generator = np.random.default_rng(2)
    lognormal = list(islice(Lognormal(200, 0.5).stream(generator), COUNT))
    assert np.mean(lognormal) == pytest.approx(200, rel=0.05)
    assert np.log(lognormal).std() == pytest.approx(0.5, rel=0.1)
    uniform = set(islice(Uniform(3, 6).stream(generator), 200))
    assert uniform == {3, 4, 5, 6}


def test_the_same_seed_gives_the_same_stream_and_another_seed_another() -> None:
    workload = Workload(prompt_words=Lognormal(20, 0.5), seed=3)
    assert take(workload) == take(workload)
    assert take(workload) != take(replace(workload, seed=4))


def test_another_rate_leaves_the_prompts_as_they_were() -> None:
    slow, fast = (take(Workload(arrivals=poisson(rate), seed=1)) for rate in (1.0, 7.0))
    assert [c.turns for c in slow] == [c.turns for c in fast]


def test_a_shared_prefix_is_the_same_in_every_conversation() -> None:
    conversations = take(Workload(shared_prefix_words=30, prompt_words=Fixed(5), turns=3))
    assert len({c.shared for c in conversations}) == 1
    assert len(conversations[0].shared.split()) == 30
    assert all(len(turn.prompt.split()) == 5 for c in conversations for turn in c.turns)
    assert all(len(c.turns) == 3 for c in conversations)


def test_users_of_a_closed_loop_are_ready_at_once() -> None:
    assert {c.at_s for c in take(Workload(arrivals=Users(3)))} == {0.0}


def test_a_trace_gives_arrivals_and_lengths(tmp_path: Path) -> None:
    stamps, lengths = tmp_path / "stamps", tmp_path / "lengths.jsonl"
    stamps.write_text("105\n100\n101.5\n")
    lengths.write_text('{"prompt_length": 3, "output_length": 8}\n{"prompt_length": 1}\n')
    workload = Workload(
        arrivals=parse_arrivals(f"trace:{stamps}", 1.0),
        prompt_words=parse_lengths(f"file:{lengths}", "prompt_length"),
    )
    conversations = list(workload.conversations())
    assert [c.at_s for c in conversations] == [0.0, 1.5, 5.0]
    assert [len(c.turns[0].prompt.split()) for c in conversations] == [3, 1, 3]
    with pytest.raises(WorkloadError, match="output_length"):
        parse_lengths(f"file:{lengths}", "output_length")


def test_one_jsonl_file_gives_arrivals_and_lengths_in_its_order(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text("""{"timestamp": 5, "prompt_length": 3}
{"timestamp": 6.5, "prompt_length": 1}
""")
    workload = Workload(
        arrivals=parse_arrivals(f"trace:{trace}", 1.0),
        prompt_words=parse_lengths(f"file:{trace}", "prompt_length"),
    )
    asked = [(c.at_s, len(c.turns[0].prompt.split())) for c in workload.conversations()]
    assert asked == [(0.0, 3), (1.5, 1)]
    trace.write_text("""{"timestamp": 5}
{"timestamp": 4}
""")
    with pytest.raises(WorkloadError, match="go back"):
        parse_arrivals(f"trace:{trace}", 1.0)


def test_arrivals_ascend() -> None:
    times = [c.at_s for c in take(Workload(arrivals=Gamma(2, 2.0)))]
    assert all(a <= b for a, b in pairwise(times))


@pytest.mark.parametrize(
    "text", ["x", "gamma", "gamma:0", "closed:0", "closed:x", "trace:/none", "poisson:2"]
)
def test_arrivals_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(WorkloadError):
        parse_arrivals(text, 1.0)


def test_a_rate_must_be_positive() -> None:
    with pytest.raises(WorkloadError, match="positive"):
        parse_arrivals("poisson", 0.0)


@pytest.mark.parametrize("text", ["x", "0", "uniform:0-3", "uniform:3", "lognormal:-1,1", "a:b"])
def test_lengths_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(WorkloadError):
        parse_lengths(text, "prompt_length")

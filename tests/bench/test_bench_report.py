"""From outcomes to figures, comparison and a page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from legato.bench.compare import Verdict, compare
from legato.bench.document import measured, read_runs
from legato.bench.figures import figures_of
from legato.bench.objectives import Objectives
from legato.bench.outcome import FailureKind, Outcome
from legato.bench.report import render_report
from legato.bench.run import Run
from legato.bench.svg import Axis, Plot, Series
from legato.errors import LegatoError
from legato.metrics.prefill import PrefillProfile
from legato.metrics.price import MachinePrice
from legato.metrics.timeline import Timeline

SECOND = 1_000_000_000
MS = 1_000_000


def outcome(number: int, gap_ms: float = 10) -> Outcome:
    arrival = number * 100 * MS
    first = arrival + (200 + number) * MS
    stamps = [first + round(gap_ms * MS) * token for token in range(20)]
    return Outcome(
        Timeline(arrival, stamps, 50),
        arrival,
        stamps[-1] + MS,
        finish_reason="length",
        counted_by="usage",
    )


def run_of(gap_ms: float = 10, count: int = 30, failures: int = 0) -> Run:
    run = Run(0, ended_ns=10 * SECOND)
    run.outcomes = [outcome(number, gap_ms) for number in range(count)]
    for number in range(failures):
        run.outcomes.append(
            Outcome(Timeline(number * SECOND), number * SECOND, failure=FailureKind.RESET)
        )
    return run


def document(run: Run, rate: float = 3.0) -> dict[str, Any]:
    return {
        "endpoint": "http://<host>:1/v1",
        "rate": rate,
        "workload": {"seed": "0"},
        "objectives": {"ttft_s": 1.0, "tbt_s": 0.05, "fluid": 0.9, "share": 0.99, "profile": None},
        "figures": figures_of(run, Objectives(), MachinePrice(1.0)),
        "requests": [o.to_json(run.origin_ns) for o in run.outcomes],
    }


def test_figures_count_failures_and_name_them() -> None:
    figures = figures_of(run_of(failures=10), Objectives(), MachinePrice(3.6))
    assert (figures["requests"], figures["failed"]) == (40, 10)
    assert figures["failures"] == {"reset": 10}
    assert figures["fluid_fraction"] == pytest.approx(0.75)
    assert figures["goodput_per_s"] == pytest.approx(3.0)
    assert figures["seconds_per_token"] == pytest.approx(10 / 600)
    assert figures["cost"]["per_million_output_tokens"] == pytest.approx(0.01 / 600 * 1e6)
    assert figures["ttft_s"]["count"] == 30


def test_machine_time_that_the_server_tells_is_added_up_and_priced() -> None:
    run = run_of(count=4)
    assert figures_of(run, Objectives(), MachinePrice(3600.0))["machine"] is None
    for number, each in enumerate(run.outcomes):
        each.machine_ns = 250 * MS * number
    machine = figures_of(run, Objectives(), MachinePrice(3600.0))["machine"]
    assert machine == {
        "requests": 4, "ns": 1500 * MS, "seconds": 1.5, "share": 0.15, "cost": 1.5,
    }  # fmt: skip


def test_prompts_from_a_prefix_cache_are_told() -> None:
    run = run_of()
    assert not figures_of(run, Objectives())["warnings"]
    for each in run.outcomes:
        each.cached_tokens = 25
    figures = figures_of(run, Objectives())
    assert figures["cached_fraction"] == pytest.approx(0.5)
    assert "prefix cache" in figures["warnings"][0]


def test_a_profile_moves_the_deadline_of_the_first_token() -> None:
    profile = PrefillProfile(0.1, 0.002, 0.0)
    objectives = Objectives(ttft_s=0.3, profile=profile)
    assert objectives.prefill_ns(outcome(0).timeline) == pytest.approx(0.5 * SECOND)


def test_records_survive_json() -> None:
    for original in (outcome(3), run_of(count=0, failures=1).outcomes[0]):
        record = json.loads(json.dumps(original.to_json(0)))
        assert Outcome.from_json(record) == original


def test_a_run_compared_with_itself_shows_no_difference() -> None:
    same = run_of().outcomes
    verdicts = {d.verdict for d in compare(same, same, Objectives())}
    assert verdicts == {Verdict.SAME}


def test_a_slower_run_is_worse_and_the_reverse_better() -> None:
    fast, slow = run_of(10).outcomes, run_of(30).outcomes
    worse = {d.figure: d.verdict for d in compare(fast, slow, Objectives())}
    better = {d.figure: d.verdict for d in compare(slow, fast, Objectives())}
    assert worse["TPOT p50, s"] is Verdict.WORSE
    assert better["TPOT p50, s"] is Verdict.BETTER
    assert worse["TTFT p50, s"] is Verdict.SAME


def test_more_failures_are_worse() -> None:
    verdicts = {
        d.figure: d.verdict
        for d in compare(run_of().outcomes, run_of(failures=20).outcomes, Objectives())
    }
    assert verdicts["failed requests"] is Verdict.WORSE
    assert verdicts["fluid requests"] is Verdict.WORSE


class _Balanced(HTMLParser):
    """Notes tags that are opened and not closed, and everything that loads or runs."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not {"src", "href"} & {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing() -> None:
    page = render_report([document(run_of(), 1.0), document(run_of(60, failures=2), 2.0)])
    parser = _Balanced()
    parser.feed(page)
    assert parser.open == []
    assert "svg" in parser.seen
    assert not {"script", "link", "img"} & parser.seen
    assert "<host>" not in page
    assert "prefers-color-scheme: dark" in page
    assert page.count("<svg") == 5 + 4


@pytest.mark.parametrize("runs", [[], [Run(0, 1)], [run_of(count=0, failures=2)]])
def test_a_page_without_tokens_is_a_page(runs: list[Run]) -> None:
    assert "</html>" in render_report([document(run) for run in runs])


def test_axes_have_round_ticks_inside() -> None:
    assert Axis.around("x", [3, 97]).ticks() == [0, 50, 100]
    assert Axis.around("x", [1, 900], log=True).ticks() == [1, 10, 100, 1000]
    assert Axis.around("x", [10, 40], log=True).ticks() == [10, 20]
    assert Plot("t", Axis("x", 0, 1), Axis("y", 0, 1), [Series("s", [(0, 0)])]).render()


def test_saved_runs_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    path.write_text(json.dumps({"runs": [document(run_of())]}))
    (run,) = read_runs(path)
    assert measured(run)[0].timeline.output_tokens == 20
    path.write_text("{}")
    with pytest.raises(LegatoError, match="cannot read runs"):
        read_runs(path)

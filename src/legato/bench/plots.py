"""The plots of a report, each from the documents of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from legato.bench.document import Document, measured
from legato.bench.objectives import Objectives
from legato.bench.outcome import NS_PER_MS, Outcome
from legato.bench.svg import Axis, Plot, Point, Series
from legato.bench.table import title_of
from legato.metrics import latency
from legato.metrics.fluidity import due_times
from legato.metrics.prefill import PrefillProfile

CURVE_POINTS = 120
Runs = Sequence[Document]


def _by_endpoint(runs: Runs) -> list[tuple[str, list[Document]]]:
    ordered = sorted(runs, key=lambda run: (_name(run), run["rate"]))
    return [(name, list(group)) for name, group in groupby(ordered, _name)]


def _name(run: Document) -> str:
    name: str = run.get("name") or run["endpoint"]
    return name


def _short(url: str, alone: bool) -> str:
    return "" if alone else url.partition("://")[2].partition("/")[0] + " "


def spread_plot(runs: Runs, figure: str, name: str, quantiles: Sequence[str]) -> Plot | None:
    """Quantiles of a distribution, ms, against the rate."""
    series: list[Series] = []
    endpoints = _by_endpoint(runs)
    for url, group in endpoints:
        for quantile in quantiles:
            points = [
                (run["rate"], run["figures"][figure][quantile] * 1e3)
                for run in group
                if run["figures"][figure] is not None
            ]
            label = _short(url, len(endpoints) == 1) + quantile
            series.append(Series(label, points, len(series)))
    return _over_rate(f"{name} against rate", f"{name}, ms", series, log=True)


def fluid_plot(runs: Runs) -> Plot | None:
    """The share of fluid requests, with its bounds, against the rate."""
    series: list[Series] = []
    endpoints = _by_endpoint(runs)
    for number, (url, group) in enumerate(endpoints):
        shown = [run for run in group if run["figures"]["fluid_interval"] is not None]
        label = _short(url, len(endpoints) == 1) + "observed"
        series.append(
            Series(label, [(r["rate"], r["figures"]["fluid_fraction"] or 0) for r in shown], number)
        )
        for bound in ("low", "high"):
            points = [(r["rate"], r["figures"]["fluid_interval"][bound]) for r in shown]
            series.append(Series(f"{bound} bound", points, number, dashed=True, marks=False))
    return _over_rate("Fluid requests against rate", "share", series)


def _over_rate(title: str, label: str, series: Sequence[Series], log: bool = False) -> Plot | None:
    points = [point for each in series for point in each.points]
    if not points:
        return None
    x = Axis.around("requests/s", [point[0] for point in points])
    return Plot(title, x, Axis.around(label, [point[1] for point in points], log=log), series)


def tbt_distribution(runs: Runs) -> Plot | None:
    """The share of gaps longer than a time: stalls show at the lower right."""
    series = []
    for number, run in enumerate(runs):
        gaps = sorted(
            gap / NS_PER_MS
            for outcome in measured(run)
            if outcome.succeeded
            for gap in latency.tbt_ns(outcome.timeline)
        )
        if gaps:
            series.append(Series(title_of(run), _tail(gaps), number, marks=False))
    points = [point for each in series for point in each.points]
    if not points:
        return None
    x = Axis.around("time between tokens, ms", [p[0] for p in points if p[0] >= 0.1], log=True)
    y = Axis.around("share of gaps that are longer", [point[1] for point in points], log=True)
    return Plot("Time between tokens: distribution", x, y, series)


def _tail(ordered: Sequence[float]) -> list[Point]:
    """Points of 1 − F: more of them towards the largest values, where they matter."""
    count = len(ordered)
    ranks = {round(count ** (k / CURVE_POINTS)) for k in range(CURVE_POINTS + 1)}
    return [(ordered[count - rank], rank / count) for rank in sorted(ranks, reverse=True)]


def cost_plot(runs: Runs) -> Plot | None:
    """What a million output tokens cost, against how long the slow ones wait."""
    series: list[Series] = []
    endpoints = _by_endpoint(runs)
    for number, (url, group) in enumerate(endpoints):
        points = [
            (run["figures"]["normalized_latency_s"]["p99"] * 1e3, _cost(run))
            for run in group
            if run["figures"]["normalized_latency_s"] and _cost(run)
        ]
        label = _short(url, len(endpoints) == 1) or "each rate"
        series.append(Series(label, points, number))
    points = [point for each in series for point in each.points]
    if not points:
        return None
    x = Axis.around("normalized latency p99, ms per token", [point[0] for point in points])
    y = Axis.around("cost of 1M output tokens", [point[1] for point in points])
    return Plot("Cost against latency", x, y, series)


def _cost(run: Document) -> float:
    return float((run["figures"]["cost"] or {}).get("per_million_output_tokens") or 0)


def timelines(runs: Runs, count: int) -> list[Plot]:
    """The requests with the lowest fluidity-index of all runs, worst first."""
    scored = []
    for run in runs:
        objectives = objectives_of(run)
        for outcome in measured(run):
            if outcome.succeeded:
                scored.append((objectives.index(outcome), run, outcome, objectives))
    scored.sort(key=lambda entry: entry[0])
    return [_timeline(*entry) for entry in scored[:count]]


def _timeline(index: float, run: Document, outcome: Outcome, objectives: Objectives) -> Plot:
    timeline = outcome.timeline
    due = due_times(timeline.gaps_ns(), objectives.deadlines(timeline))
    came = [stamp - timeline.arrival_ns for stamp in timeline.stamps_ns]
    series = [
        Series("delivered", _counted(came), 0, marks=False, steps=True),
        Series("due", _counted(due), 1, dashed=True, marks=False, steps=True),
    ]
    title = f"Fluidity-index {index:.3f}, {title_of(run)}, {timeline.prompt_tokens} tokens in"
    x = Axis.around("ms from arrival", [point[0] for each in series for point in each.points])
    return Plot(title, x, Axis.around("tokens", [0, len(came)]), series)


def _counted(times_ns: Sequence[int]) -> list[Point]:
    return [(time / NS_PER_MS, float(number + 1)) for number, time in enumerate(times_ns)]


def objectives_of(run: Document) -> Objectives:
    """What the requests of a saved run were promised."""
    saved = dict(run["objectives"])
    profile = saved.pop("profile")
    return Objectives(**saved, profile=PrefillProfile(**profile) if profile else None)

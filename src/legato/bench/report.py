"""Measurements as one HTML file: a table, plots, and the worst requests token by token.

It needs nothing but itself, and has a light and a dark look.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

import legato
from legato.bench.document import Document
from legato.bench.plots import (
    cost_plot,
    fluid_plot,
    spread_plot,
    tbt_distribution,
    timelines,
)
from legato.bench.svg import Plot
from legato.bench.table import rows, title_of

WORST = 4  # requests shown token by token


def render_report(runs: Sequence[Document]) -> str:
    """The page for these runs."""
    style = files("legato.bench").joinpath("data/report.css").read_text(encoding="utf-8")
    plots = [
        spread_plot(runs, "ttft_s", "TTFT", ("p50", "p99")),
        spread_plot(runs, "tbt_s", "Time between tokens", ("p50", "p99", "max")),
        fluid_plot(runs),
        tbt_distribution(runs),
        cost_plot(runs),
    ]
    figures = "".join(_figure(plot) for plot in plots if plot is not None)
    worst = "".join(_figure(plot) for plot in timelines(runs, WORST))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Measurement</title><style>
{style}</style></head><body>
<h1>Measurement</h1>
{_notes(runs)}
{_table(runs)}
<h2>Plots</h2>
<div class="plots">{figures}</div>
<h2>Worst requests, token by token</h2>
<p>Each line is what had arrived by then; the dashed line is what was due. A line to the right of
its dashes was late; after a miss the deadlines start again from the late token.</p>
<div class="plots">{worst or "<p>No request succeeded.</p>"}</div>
<footer>legato {legato.__version__}</footer>
</body></html>
"""


def _figure(plot: Plot) -> str:
    return f"<figure><figcaption>{escape(plot.title)}</figcaption>{plot.render()}</figure>"


def _notes(runs: Sequence[Document]) -> str:
    """What was asked and promised, and reasons to doubt the figures."""
    if not runs:
        return "<p>Nothing was measured.</p>"
    workload = {key: value for key, value in runs[0]["workload"].items() if key != "arrivals"}
    lines = [_pairs("Workload", workload), _pairs("Objectives", runs[0]["objectives"])]
    lines += [
        f'<p class="warning">{escape(title_of(run))}: {escape(warning)}</p>'
        for run in runs
        for warning in run["figures"]["warnings"]
    ]
    return "".join(lines)


def _pairs(name: str, values: dict[str, Any]) -> str:
    text = ", ".join(f"{key} {value}" for key, value in values.items() if value is not None)
    return f"<p><b>{name}:</b> {escape(text)}</p>"


def _table(runs: Sequence[Document]) -> str:
    head = "".join(f"<th>{escape(title_of(run))}</th>" for run in runs)
    lines = []
    for name, show in rows():
        cells = "".join(f"<td>{escape(show(run['figures']))}</td>" for run in runs)
        lines.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    body = "".join(lines)
    note = "<p>Spreads are p50 / p90 / p99 / max, of the requests that succeeded.</p>"
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>{note}'

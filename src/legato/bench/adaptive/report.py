"""A comparison as one HTML file that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

import legato
from legato.bench.adaptive.replay import SINGLE
from legato.bench.adaptive.table import (
    CALIBRATION_COLUMNS,
    Document,
    calibration_rows,
    columns,
    notes,
    rows,
    set_columns,
    set_rows,
)
from legato.bench.svg import Axis, Plot, Point, Series


def render_report(document: Document) -> str:
    """The page."""
    style = files("legato.bench").joinpath("data/report.css").read_text(encoding="utf-8")
    lines = "".join(f"<p>{escape(note)}</p>" for note in [_asked(document), *notes(document)])
    calibration = "".join(_figure(plot) for plot in calibration_plots(document))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Adaptive compute</title><style>
{style}</style></head><body>
<h1>Adaptive compute</h1>
{lines}
{_table(columns(document), rows(document))}
<h2>By set</h2>
{_table(set_columns(document), set_rows(document))}
<h2>What a sample is worth</h2>
<div class="plots">{_figure(tradeoff_plot(document))}{_figure(budget_plot(document))}</div>
<h2>Can the confidence be believed?</h2>
<p>Points on the dashes are right as often as they say.</p>
<div class="plots">{calibration}</div>
{_table(CALIBRATION_COLUMNS, calibration_rows(document))}
<footer>legato {legato.__version__}</footer>
</body></html>
"""


def tradeoff_plot(document: Document) -> Plot:
    """Accuracy against samples a question: a curve for each strategy over its settings."""
    families: dict[str, list[Point]] = {}
    for each in document["strategies"]:
        point = (each["samples"]["value"], each["accuracy"]["value"])
        families.setdefault(_family(each["name"]), []).append(point)
    series = [
        Series(name, sorted(points), number)
        for number, (name, points) in enumerate(families.items())
    ]
    return _samples_plot("Accuracy against samples a question, by strategy", series)


def budget_plot(document: Document) -> Plot:
    """The same where all questions share one budget, and where each gets as many."""
    series = [
        Series("one budget for all", _curve(document["shared"]), 0),
        Series("as many for each", _curve(document["even"]), 1),
    ]
    return _samples_plot("Accuracy against average samples of a shared budget", series)


def calibration_plots(document: Document) -> list[Plot]:
    """Accuracy against confidence, a curve for each measure: of majorities, of single samples."""
    judged: dict[str, Document] = document["calibration"]
    majorities = {name: each for name, each in judged.items() if name.endswith("samples")}
    singles = {name: each for name, each in judged.items() if name not in majorities}
    return [
        _reliability("Accuracy against confidence in the majority", majorities),
        _reliability("Accuracy against confidence in a single sample", singles),
    ]


def _reliability(title: str, judged: Mapping[str, Document]) -> Plot:
    series = [Series("as they say", [(0.0, 0.0), (1.0, 1.0)], 5, dashed=True, marks=False)]
    for number, (name, each) in enumerate(judged.items()):
        points = [(one["confidence"], one["accuracy"]) for one in each["bins"]]
        series.append(Series(name, points, number))
    unit = Axis("confidence", 0.0, 1.05)
    return Plot(title, unit, Axis("share that is right", 0.0, 1.05), series)


def _family(name: str) -> str:
    return "self-consistency" if name == SINGLE else name.partition(",")[0]


def _samples_plot(title: str, series: Sequence[Series]) -> Plot:
    points = [point for each in series for point in each.points]
    x = Axis.around("samples a question", [point[0] for point in points])
    accuracies = [point[1] for point in points]
    y = Axis.around("accuracy", [*accuracies, min(accuracies) - 0.02], zero=False)
    return Plot(title, x, y, series)


def _curve(points: Sequence[Document]) -> list[Point]:
    return [(point["samples"], point["accuracy"]) for point in points]


def _asked(document: Document) -> str:
    of = {key: document[key] for key in ("model", "temperature", "seed") if key in document}
    given = ", ".join(f"{key} {value}" for key, value in of.items())
    return f"{document['questions']} questions, {document['max_samples']} samples each; {given}"


def _figure(plot: Plot) -> str:
    return f"<figure><figcaption>{escape(plot.title)}</figcaption>{plot.render()}</figure>"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        f"<tr><th>{escape(line[0])}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in line[1:])
        + "</tr>"
        for line in lines
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'

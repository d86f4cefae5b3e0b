"""A comparison as lines of text, for the terminal and the report alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]
COLUMNS = (
    "strategy",
    "accuracy, %",
    "difference, %",
    "samples",
    "% of samples",
    "tokens",
    "ms",
)


def columns(document: Document) -> tuple[str, ...]:
    """Heads of the table of strategies."""
    return (*COLUMNS, "cost of 1,000") if _has_cost(document) else COLUMNS


def rows(document: Document) -> list[tuple[str, ...]]:
    """A line for each strategy: figures a question, with their 95 % intervals."""
    has_cost, baseline = _has_cost(document), document["strategies"][0]
    return [_row(each, has_cost, each is baseline) for each in document["strategies"]]


def set_rows(document: Document) -> list[tuple[str, ...]]:
    """Accuracy and samples of each strategy in each set, a line for each strategy."""
    return [
        (
            each["name"],
            *(f"{s['accuracy']:.1%}, {s['samples']:.2f}" for s in each["by_set"].values()),
        )
        for each in document["strategies"]
    ]


def set_columns(document: Document) -> tuple[str, ...]:
    """Heads of the table of sets."""
    by_set = document["strategies"][0]["by_set"]
    return ("accuracy, samples", *(f"{name} ({s['questions']})" for name, s in by_set.items()))


def calibration_rows(document: Document) -> list[tuple[str, ...]]:
    """Brier score and expected calibration error of each measure of confidence."""
    return [
        (name, f"{judged['brier']:.3f}", f"{judged['ece']:.3f}")
        for name, judged in document["calibration"].items()
    ]


CALIBRATION_COLUMNS = ("confidence by", "Brier score", "ECE")


def notes(document: Document) -> list[str]:
    """What a reader of the table must know."""
    lines = [
        "figures a question, with 95 % intervals; difference of accuracy and share of the samples "
        f"against {document['strategies'][0]['name']}, question by question",
        "~: predicted from the machine time of the samples, not run",
    ]
    lines += [_live_note(live, document["questions"]) for live in document["live"]]
    if document["interrupted"]:
        lines.append("interrupted: the figures are of what was finished")
    return lines


def _live_note(live: Document, questions: int) -> str:
    text = f"{live['name']} through the engine: {live['seconds']:.1f} s, a question "
    text += f"{live['samples_begun']:.2f} samples begun, {live['samples_pruned']:.2f} pruned"
    if live["as_replayed"] is None:
        return text
    return f"{text}; decided as replayed at {live['as_replayed']} of {questions} questions"


def _row(each: Document, has_cost: bool, is_baseline: bool) -> tuple[str, ...]:
    seconds = each["seconds"]
    mark = "" if seconds["measured"] else "~"
    cells = (
        each["name"],
        _percent(each["accuracy"], ".1f"),
        "baseline" if is_baseline else _percent(each["difference"], "+.1f"),
        f"{each['samples']['value']:.2f}",
        "100" if is_baseline else _percent(each["saving"], ".1f"),
        f"{each['tokens']['value']:.1f}",
        f"{mark}{seconds['value'] * 1e3:.0f}",
    )
    return (*cells, f"{mark}{each['cost'] * 1000:.4g}") if has_cost else cells


def _percent(value: Document, form: str) -> str:
    low, high = (f"{100 * value[end]:{form}}" for end in ("low", "high"))
    return f"{100 * value['value']:{form}} [{low}, {high}]"


def _has_cost(document: Document) -> bool:
    strategies: Sequence[Document] = document["strategies"]
    return strategies[0]["cost"] is not None
